"""Serves an exported model over HTTP: POST /score, GET /docs, /health, /ready, /metrics.

Requests are rows, or a user with many candidates, as JSON or Arrow; answers are calibrated
probabilities. Requests that come together share a call. With --token_file, or DTN_SERVE_TOKEN in
the environment, requests must bring that token. docs/serving.md says more. It needs the extra
[serve]: pip install -e '.[serve]' in the clone.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.errors import UserError

TOKEN = "DTN_SERVE_TOKEN"  # in the environment
EXAMPLE = "dtn-jax serve --model=models/adult_dtn"
OPTIONS = {
    "model=DIR": "folder that dtn-jax export wrote, or a link to it",
    "host=ADDRESS": "address to listen on, by default of this machine alone",
    "port=N": "0 takes a free one",
    "reload": "serve a new model as soon as it is renamed to MODEL; no request is lost",
    "token_file=FILE": "holds a token that requests must bring as 'authorization: Bearer TOKEN' "
    f"(default: ${TOKEN}, else none)",
}
LIMITS = {
    "body_mb": "MiB of a request at most",
    "rows": "rows of a request at most",
    "connections": "connections at once; more are answered with 503",
    "max_batch": "rows that share a call at most; larger requests are cut",
}
OPTIONS |= {f"{name}=N": help for name, help in LIMITS.items()}
DEFAULTS = {name: command.constant("export.serve.requests", name) for name in LIMITS}
DEFAULTS |= {"host": "127.0.0.1", "port": 8000}
SHARED = ("cache_dir",)
NEEDED = ("model",)
RANGES = dict.fromkeys(LIMITS, command.POSITIVE) | {"port": (0, 65_535)}


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    try:
        from dtn_jax.export.serve.process import Limits, serve
    except ModuleNotFoundError as error:
        how = "pip install -e '.[serve]' in the clone of dtn_jax"
        raise UserError(f"serving needs {error.name}, which is not installed: {how}") from None
    folder, token = pathlib.Path(known.model).expanduser(), read_token(known.token_file)
    limits = Limits(**{name: getattr(known, name) for name in LIMITS})
    serve(folder, known.host, known.port, limits, known.reload, token)
    command.leave(0, at_once=True)  # whatever still compiles


def read_token(file: str) -> str:
    """The token in a file, else in the environment; "" where neither is given; UserError where
    what is given holds none."""
    text = pathlib.Path(file).expanduser().read_text() if file else os.environ.get(TOKEN, "")
    token = text.strip()
    if (file or TOKEN in os.environ) and not (token and token.isascii()):
        raise UserError(f"{file or TOKEN} holds no token: expected a line of ASCII")
    return token
