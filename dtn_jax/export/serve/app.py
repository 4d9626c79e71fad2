"""The addresses of the server.

POST /score     rows in, calibrated probabilities out; JSON or Arrow
GET  /schema    columns, fields, outputs, an example; /docs shows them in a browser
GET  /health    200 while the process runs
GET  /ready     200 while it scores: the model is compiled, and the server does not end
GET  /metrics   for Prometheus
"""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dtn_jax.errors import UserError
from dtn_jax.export.serve.requests import ARROW, JSON, Job, Refused, shown
from dtn_jax.export.serve.worker import Worker

TYPES = {JSON: JSON, f"{JSON};charset=utf-8": JSON, ARROW: ARROW}


def make_app(worker: Worker, token: str = "") -> FastAPI:
    """The application, for any ASGI server.

    With a token, requests must bring it, but for /health and /ready; and /docs is not there.
    """

    async def check_token(request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            why = "expected the header 'authorization: Bearer TOKEN', with the server's token"
            raise Refused(401, why, {"www-authenticate": "Bearer"})

    inside = [Depends(check_token)]
    app = FastAPI(title="dtn_jax", redoc_url=None, openapi_url=None if token else "/openapi.json")
    app.openapi = lambda: openapi(app, worker)  # of the model that is served now

    async def score(request: Request) -> Response:
        start = time.perf_counter()
        await check_token(request)
        kind = content_type(request)
        if not worker.ready.is_set():
            raise Refused(503, "the model is being compiled; come again", {"retry-after": "1"})
        body = await read(request, worker.limits.body_mb)
        names = request.query_params.get("outputs")
        wanted = ARROW if ARROW in request.headers.get("accept", "").lower() else JSON
        job = Job(body, kind, wanted, None if names is None else names.split(","))
        worker.jobs.put(job)
        answer = await asyncio.wrap_future(job.answer)
        worker.metrics.requests.labels("200").inc()
        worker.metrics.score_seconds.observe(time.perf_counter() - start)
        return answer

    app.add_route("/score", score, ["POST"])  # as a route of FastAPI's it would take longer

    @app.get("/schema", dependencies=inside)
    async def schema() -> Response:
        return JSONResponse(worker.contract.description())

    @app.get("/health")
    async def health() -> dict:
        return {"status": "running"}

    @app.get("/ready")
    async def ready() -> Response:
        contract, there = worker.contract, worker.ready.is_set()
        status = "stopping" if worker.stopping else "ready" if there else "compiling"
        content = {"status": status, "model": {"id": contract.id, "made": contract.made}}
        return JSONResponse(content, 200 if status == "ready" else 503)

    @app.get("/metrics", dependencies=inside)
    async def metrics() -> Response:
        return Response(generate_latest(worker.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def refuse(request: Request, error: Exception) -> Response:
        status, why, headers = 500, "the server failed; its log says where", None
        if isinstance(error, UserError):
            status, why = 422, str(error)
        elif isinstance(error, HTTPException):
            status, why, headers = error.status_code, error.detail, error.headers
        worker.metrics.requests.labels(str(status)).inc()
        content = {"error": shown(why, 1000), **getattr(error, "details", {})}
        return JSONResponse(content, status, headers)

    for kind in (HTTPException, UserError, Exception):
        app.add_exception_handler(kind, refuse)
    return app


def content_type(request: Request) -> str:
    """The type of a body; raises Refused of another one, another encoding, or a compressed body."""
    given = request.headers.get("content-type", "")
    kind = TYPES.get(given.replace(" ", "").replace('"', "").lower())
    if kind is None or request.headers.get("content-encoding", "identity") != "identity":
        why = f"content-type: {shown(given)!r}, expected {JSON} or {ARROW}, in UTF-8"
        raise Refused(415, f"{why}, and not compressed")
    return kind


async def read(request: Request, most: int) -> bytes:
    """The body; raises Refused where it has more than so many MiB."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > most << 20:
                raise Refused(413, f"the body is longer than {most} MiB", {"connection": "close"})
    except ClientDisconnect:
        raise Refused(499, "the client has gone") from None  # counted, and sent to nobody
    return bytes(body)


def openapi(app: FastAPI, worker: Worker) -> dict[str, Any]:
    """What /docs shows: a body of JSON has the columns of the model."""
    contract = worker.contract
    page = get_openapi(title="dtn_jax", version=f"model {contract.id}", routes=app.routes)
    body = contract.body.model_json_schema(ref_template="#/components/schemas/{model}")
    page["components"] = {"schemas": body.pop("$defs")}
    content = {"schema": body, "example": {"rows": [contract.example]}}
    page["paths"]["/score"] = {
        "post": {
            "summary": "Scores of rows, or of a user's candidates",
            "requestBody": {"required": True, "content": {JSON: content}},
            "responses": {"200": {"description": "The scores of each output, in order"}},
        }
    }
    return page
