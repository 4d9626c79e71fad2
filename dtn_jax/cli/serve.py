"""Serves an exported model over HTTP: POST /score, GET /schema, /docs, /health, /ready, /metrics.

Requests are rows, or a user with many candidates, as JSON or Arrow; answers are calibrated
probabilities. Requests that come together share a call. With --token_file, or DTN_SERVE_TOKEN in
the environment, requests must bring that token. docs/serving.md says more. It needs the extra
[serve]: pip install -e '.[serve]' in the clone.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command, compile_cache
from dtn_jax.errors import UserError
from dtn_jax.export.serve.limits import Limits

TOKEN = "DTN_SERVE_TOKEN"  # in the environment
EXAMPLE = "dtn-jax serve --model=models/adult_dtn"
HELP = {
    "body_mb": "MiB of a request at most",
    "rows": "rows of a request at most",
    "waiting": "requests that wait at most; more are told to come again (503)",
    "body_seconds": "seconds in which a request's body must arrive",
    "max_batch": "rows that share a call at most, a power of two; larger requests are cut",
    "stop_seconds": "how long accepted requests are answered after SIGTERM or Ctrl-C",
}


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    if not known.model:
        raise UserError("no model: give --model=MODEL, a folder that dtn-jax export wrote")
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
    in_order = serve(
        pathlib.Path(known.model).expanduser(),
        known.host,
        known.port,
        limits,
        reload=known.reload,
        tables=known.tables,
        token=read_token(known.token_file),
    )
    command.leave(0, at_once=not in_order)


def read_token(file: str) -> str:
    """The token in a file, else in the environment; "" where neither is given.

    Raises:
      UserError: there is no such file, or no token in it.
    """
    try:
        token = pathlib.Path(file).expanduser().read_text() if file else os.environ.get(TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token_file={file} can't be read: {error}") from None
    if token is not None and (not token.strip() or not token.strip().isascii()):
        raise UserError(f"{file or TOKEN} holds no token: expected a line of ASCII")
    return (token or "").strip()


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--model", default="", help="folder of an exported model, or a link to it")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument(
        "--reload",
        action="store_true",
        help="serve a new model as soon as it is renamed to MODEL; no request is lost",
    )
    parser.add_argument(
        "--token_file",
        default="",
        help="file with a token that requests must bring as 'authorization: Bearer TOKEN' "
        f"(default: ${TOKEN}, else none)",
    )
    parser.add_argument(
        "--tables", default="memory", help="memory; or disk, which reads each batch's rows there"
    )
    for field in dataclasses.fields(Limits):
        parser.add_argument(
            f"--{field.name}",
            type=int if field.type == "int" else float,
            default=field.default,
            help=f"{HELP[field.name]} (default: {field.default:g})",
        )
    compile_cache.add_option(parser)
    return parser
