"""The addresses of the server.

POST /score     rows in, calibrated probabilities out; JSON or Arrow
GET  /schema    columns, fields, outputs, an example
GET  /health    200 when the model is compiled and the server goes on, else 503
GET  /metrics   for Prometheus
"""

from __future__ import annotations

import asyncio
import time

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dtn_jax.export.serve import answers, body, counters
from dtn_jax.export.serve.limits import Limits
from dtn_jax.export.serve.refused import Refused, shown
from dtn_jax.export.serve.worker import Answer, Job, Worker, refusal

PATHS = ("/score", "/schema", "/health", "/metrics")
CLIENT_GONE = 499  # counted, and sent to nobody
KINDS = (answers.JSON, answers.STREAM)


class Service:
    """The worker as the event loop sees it.

    Attributes:
      waiting: requests that the worker has.
      stopping: whether the server is about to end.
    """

    def __init__(self, worker: Worker, limits: Limits):
        self.worker, self.limits = worker, limits
        self.held, self.waiting, self.stopping = body.Held(limits), 0, False

    @property
    def status(self) -> str:
        if self.stopping:
            return "stopping"
        return "ready" if self.worker.ready.is_set() else "compiling"

    async def score(self, request: Request) -> Answer:
        """Raises Refused, or ClientDisconnect."""
        kind = content_type(request)
        self._check_room()
        self.worker.coming += 1
        try:
            read = await body.read(request, self.limits, self.held)
        finally:
            self.worker.coming -= 1
        try:
            self._check_room()
            return await self._wait(read, kind, request)
        finally:
            self.held.bytes -= len(read)

    def _check_room(self) -> None:
        """Refuses while there is no model, or too many requests wait for it."""
        if not self.worker.ready.is_set():
            raise Refused(503, "the model is being compiled; come again", headers=body.RETRY)
        if self.waiting >= self.limits.waiting:
            told = f"{self.waiting} requests wait, come again"
            raise Refused(503, told, headers=body.RETRY)

    async def _wait(self, read: bytes, kind: str, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        done: asyncio.Future = loop.create_future()

        def take(answer: Answer) -> None:
            if not done.done():
                done.set_result(answer)

        named = request.query_params.get("outputs")
        outputs = None if named is None else named.split(",")
        wanted = answers.wanted(request.headers.get("accept", ""))
        self.waiting += 1
        try:
            self.worker.submit(
                Job(read, kind, wanted, outputs, lambda a: loop.call_soon_threadsafe(take, a))
            )
            return await done
        finally:
            self.waiting -= 1


def content_type(request: Request) -> str:
    """The type of a body.

    Raises:
      Refused: 415 of another one, another encoding, or a compressed body.
    """
    given = request.headers.get("content-type", "")
    kind, _, rest = given.partition(";")
    kind, rest = kind.strip().lower(), rest.replace('"', "").strip().lower()
    told = f"content-type: {shown(given)!r}" if given else "there is no content-type"
    if kind not in KINDS or (rest and rest != "charset=utf-8"):
        raise Refused(415, f"{told}, expected {' or '.join(KINDS)}, in UTF-8")
    packed = request.headers.get("content-encoding", "identity")
    if packed.lower() != "identity":
        raise Refused(415, f"content-encoding: {shown(packed)!r}, expected a plain body")
    return kind


def make_app(service: Service) -> FastAPI:
    """The application, for any ASGI server."""
    app = FastAPI(title="dtn_jax", docs_url=None, redoc_url=None, openapi_url=None)
    counted = service.worker.counters

    @app.post("/score")
    async def score(request: Request) -> Response:
        start = time.perf_counter()
        try:
            answer = await service.score(request)
        except Refused as error:
            answer = refusal(error)
        except ClientDisconnect:
            answer = Answer(CLIENT_GONE, answers.JSON, b"")
        counted.seconds.observe(time.perf_counter() - start)
        return Response(answer.body, answer.status, dict(answer.headers), answer.kind)

    @app.get("/schema")
    async def schema() -> Response:
        loaded = service.worker.loaded
        return JSONResponse(dict(loaded.description), headers=loaded.headers)

    @app.get("/health")
    async def health() -> Response:
        loaded, status = service.worker.loaded, service.status
        told = {"status": status, "model": {"id": loaded.id, "made": loaded.made}}
        return JSONResponse(told, 200 if status == "ready" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(counted.text(), media_type=counters.CONTENT)

    @app.exception_handler(HTTPException)
    async def told(request: Request, error: HTTPException) -> Response:
        said = f"{request.method} {shown(request.url.path)}: {error.detail}"
        content = {"error": f"{said}. There are POST /score, GET {', GET '.join(PATHS[1:])}"}
        return JSONResponse(content, error.status_code, error.headers)

    app.add_middleware(Counted, counters=counted)
    return app


class Counted:
    """Counts answers by path and status."""

    def __init__(self, app, counters: counters.Counters):
        self.app, self.requests = app, counters.requests

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"] if scope["path"] in PATHS else "other"

        async def counted(message) -> None:
            if message["type"] == "http.response.start":
                self.requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counted)
