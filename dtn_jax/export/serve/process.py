"""One process that serves one model, from its start to its orderly end, and takes new ones.

With `reload`, the model's folder is looked at every second: another one that was renamed there, or
a symbolic link that leads to another. The new model is loaded, verified and compiled beside the old
one, and takes over between two calls; so no request is lost. The old one stays where the new one
can't be loaded, or would refuse requests that the old one answers. Its addresses:

    POST /score     rows in, calibrated probabilities out; JSON or Arrow
    GET  /docs      the model's columns and outputs in a browser, with an example; / leads there
    GET  /health    200 while the process runs
    GET  /ready     200 while it scores: the model is compiled, and the server does not end
    GET  /metrics   for Prometheus
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import pathlib
import sys
import threading
import time
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.serve.requests import ARROW, JSON, Contract, Job, Limits
from dtn_jax.export.serve.worker import Worker

LOG = logging.getLogger("dtn_jax.serve")
SWITCH = 0.0005  # seconds after which threads take turns: the event loop must not wait long
SECONDS = 1.0  # between two looks at the folder
STOP = 10  # seconds in which what was accepted is answered when the server stops


class Server(uvicorn.Server):
    """Ends in an orderly way at a signal: what was accepted is answered, and the exit code is 0."""

    worker: Worker

    async def startup(self, sockets=None) -> None:
        """Listens, or ends the process where it can't; then the model is compiled."""
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        LOG.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        self.worker.thread.start()

    def handle_exit(self, sig, frame) -> None:
        """At the second signal at once."""
        self.force_exit, self.should_exit = self.should_exit, True
        self.worker.stopping = True


def serve(
    folder: pathlib.Path,
    host: str,
    port: int,
    limits: Limits,
    reload: bool = False,
    token: str = "",
) -> None:
    """Serves a model until a signal.

    Args:
      folder: of the model.
      host, port: where to listen; port 0 takes a free one.
      limits: of requests.
      reload: look for a new model in the folder.
      token: that requests must bring; "" is none.

    Raises:
      UserError: the model can't be loaded.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    LOG.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    stopped = threading.Event()
    worker = Worker(Contract(export.load(folder, limits.max_batch)), limits)

    def watch() -> None:
        seen = worker.contract.id
        worker.ready.wait()
        while not stopped.wait(SECONDS):
            seen = look(worker, folder, seen)

    server = Server(
        uvicorn.Config(
            make_app(worker, token),
            host,
            port,
            log_config=None,
            access_log=False,
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=STOP,
        )
    )
    server.worker = worker
    sys.setswitchinterval(SWITCH)
    if reload:
        threading.Thread(target=watch, name="reload", daemon=True).start()
    LOG.info("model %s, made %s", worker.contract.id, worker.contract.date)
    server.run()
    stopped.set()
    worker.stop(STOP)


def look(worker: Worker, folder: pathlib.Path, seen: str) -> str:
    """Takes the model that lies in the folder now, if it is not that of this id; returns its id.

    A new model that lacks outputs of the old one, or can't score its example, is refused.
    """
    old, now = worker.contract, seen
    with contextlib.suppress(OSError):  # it is being renamed
        now = model_folder.model_id(folder)
    if now == seen:
        return seen
    try:
        new = Contract(export.load(folder, worker.limits.max_batch))
        if lacks := [name for name in old.model.outputs if name not in new.model.outputs]:
            raise UserError(f"it lacks outputs that the old one gives: {', '.join(lacks)}")
        needed = old.columns.keys() - {*old.model.optional}
        new.model.score([{name: old.example[name] for name in needed}])
        new.warm()
        LOG.info("model %s takes over from %s", new.id, old.id)
        worker.take(new)
        worker.metrics.reloads.labels("swapped").inc()
    except Exception as error:  # a broken model must not end the server
        worker.metrics.reloads.labels("refused").inc()
        why = error if isinstance(error, UserError) else repr(error)
        LOG.error("the new model is refused, the old one stays: %s; a restart serves it", why)
    return now


def make_app(worker: Worker, token: str = "") -> FastAPI:
    """The application, for any ASGI server.

    With a token, requests must bring it, but for /health and /ready; and /docs is not there.
    """

    async def check_token(request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            why = "expected the header 'authorization: Bearer TOKEN', with the server's token"
            raise HTTPException(401, why, {"www-authenticate": "Bearer"})

    app = FastAPI(title="dtn_jax", redoc_url=None, openapi_url=None if token else "/openapi.json")
    app.openapi = lambda: openapi(app, worker)  # of the model that is served now

    async def score(request: Request) -> Response:
        start = time.perf_counter()
        await check_token(request)
        headers, names = request.headers, request.query_params.get("outputs")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, ARROW) or headers.get("content-encoding", "identity") != "identity":
            got = f"got the content-type {kind or 'none'}"
            raise HTTPException(415, f"{got}, expected {JSON} or {ARROW}, not compressed")
        if not worker.ready.is_set():
            raise HTTPException(
                503,
                "the model is being compiled; GET /ready says when it is done",
                {"retry-after": "1"},
            )
        wanted = ARROW if ARROW in headers.get("accept", "").lower() else JSON
        body = await read(request, worker.limits.body_mb)
        job = Job(body, kind, wanted, None if names is None else names.split(","))
        worker.jobs.put(job)
        answer = await asyncio.wrap_future(job.answer)
        worker.metrics.requests.labels("200").inc()
        worker.metrics.score_seconds.observe(time.perf_counter() - start)
        return answer

    app.add_route("/score", score, ["POST"])  # as a route of FastAPI's it would take longer

    if not token:
        app.add_route("/", lambda _: RedirectResponse("/docs"))

    @app.get("/health")
    async def health() -> dict:
        return {"status": "running"}

    @app.get("/ready")
    async def ready() -> Response:
        there = worker.ready.is_set()
        status = "stopping" if worker.stopping else "ready" if there else "compiling"
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    @app.get("/metrics", dependencies=[Depends(check_token)])
    async def metrics() -> Response:
        return Response(generate_latest(worker.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def refuse(request: Request, error: Exception) -> Response:
        status, why, headers = 500, "the server failed; its log says where", None
        if isinstance(error, UserError):
            status, why = 422, str(error)
        elif isinstance(error, HTTPException):
            status, why, headers = error.status_code, error.detail, error.headers
        elif isinstance(error, ClientDisconnect):
            status = 499  # counted, and sent to nobody
        worker.metrics.requests.labels(str(status)).inc()
        return JSONResponse({"error": why[:1000]}, status, headers)

    for kind in (HTTPException, UserError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, refuse)
    return app


async def read(request: Request, most: int) -> bytes:
    """The body; raises HTTPException where it has more than so many MiB."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most << 20:
            raise HTTPException(413, f"the body is longer than {most} MiB", {"connection": "close"})
    return bytes(body)


def openapi(app: FastAPI, worker: Worker) -> dict[str, Any]:
    """What /docs shows: a body of JSON has the columns of the model."""
    contract = worker.contract
    page = get_openapi(title="dtn_jax", version=f"model {contract.id}", routes=app.routes)
    body = contract.body.model_json_schema(ref_template="#/components/schemas/{model}")
    page["components"] = {"schemas": body.pop("$defs")}
    content = {JSON: {"schema": body, "example": {"rows": [contract.example]}}}
    answers = {"200": {"description": "The scores of each output, in order"}}
    score = {"requestBody": {"required": True, "content": content}, "responses": answers}
    page["paths"]["/score"] = {"post": score}
    return page
