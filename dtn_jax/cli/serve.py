"""Serves an exported model over HTTP: POST /score, GET /schema, /health and /metrics.

Requests are rows, or a user with many candidates, as JSON or Arrow; answers are calibrated
probabilities. Requests that come together share a call. docs/serving.md says more. It needs the
extra [serve]: pip install -e '.[serve]' in the clone.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command, compile_cache
from dtn_jax.errors import UserError

EXAMPLE = "dtn-jax serve --model=models/adult_dtn"
HELP = {
    "body_mb": "MiB of a request at most",
    "rows": "rows of a request at most",
    "waiting": "requests that wait at most; more are told to come again (503)",
    "body_seconds": "seconds in which a request's body must arrive",
    "max_batch": "rows that share a call at most, a power of two; larger requests are cut",
    "max_wait_ms": "how long a request waits for others to share its call, in milliseconds",
    "stop_seconds": "how long accepted requests are answered after SIGTERM or Ctrl-C",
}


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    from dtn_jax.export.serve.limits import Limits

    limits = Limits(**{name: getattr(known, name) for name in HELP})
    compile_cache.use(known.cache_dir)
    try:
        from dtn_jax.export.serve.process import serve
    except ModuleNotFoundError as error:
        missing = error.name
        raise UserError(
            f"serving needs {missing}, which is not installed: pip install -e '.[serve]' in the "
            "clone of dtn_jax"
        ) from None
    folder = pathlib.Path(known.model).expanduser()
    in_order = serve(folder, known.host, known.port, limits, known.reload, known.tables)
    command.leave(0, at_once=not in_order)


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    add = functools.partial(command.add, parser)
    add("model=DIR", "folder that dtn-jax export wrote, or a link to it", required=True)
    add("host=ADDRESS", "address to listen on, by default of this machine alone", "127.0.0.1")
    add("port=N", "0 takes a free one", 8000)
    add("reload", "serve a new model as soon as it is renamed to MODEL; no request is lost", False)
    add("tables=PLACE", "memory; or disk, which reads each batch's rows there", "memory")
    for name, text in HELP.items():
        add(f"{name}=N", text, command.constant("export.serve.limits", name))
    command.add_shared(parser, "cache_dir")
    return parser
