"""One process that serves one model, from its start to its orderly end."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import socket
import sys

import uvicorn

from dtn_jax.errors import UserError
from dtn_jax.export.serve.app import Service, make_app
from dtn_jax.export.serve.counters import Counters
from dtn_jax.export.serve.limits import Limits
from dtn_jax.export.serve.loaded import load
from dtn_jax.export.serve.patient import Patient
from dtn_jax.export.serve.reload import Reloader, state
from dtn_jax.export.serve.worker import Worker

LOG = logging.getLogger("dtn_jax.serve")
CONNECTIONS = 1000  # at once
BACKLOG = 1024  # of those that are not accepted yet
SWITCH = 0.0005  # seconds after which threads take turns: the event loop must not wait long
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Server(uvicorn.Server):
    """Ends in an orderly way at a signal: what was accepted is answered, and the exit code is 0."""

    service: Service | None = None

    def handle_exit(self, sig, frame) -> None:
        """At the second signal at once."""
        self.force_exit, self.should_exit = self.should_exit, True
        if self.service is not None:
            self.service.stopping = True


def serve(
    folder: pathlib.Path,
    host: str,
    port: int,
    limits: Limits,
    reload: bool = False,
    tables: str = "memory",
) -> bool:
    """Serves a model until a signal; returns whether the process may end in order.

    That is so if everything was answered in time and no new model is being loaded.

    Args:
      folder: of the model.
      host, port: where to listen; port 0 takes a free one.
      limits: of requests.
      reload: look for a new model in the folder.
      tables: see `dtn_jax.export.load`.

    Raises:
      UserError: the model can't be loaded, or the address is not free.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    LOG.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    seen = state(folder)
    loaded = load(folder, limits.max_batch, tables)
    listening = listen(host, port)
    worker = Worker(loaded, limits, Counters())
    service = Service(worker, limits)
    server = Server(
        uvicorn.Config(
            make_app(service),
            http=Patient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
        )
    )
    server.service = service
    sys.setswitchinterval(SWITCH)
    worker.start()
    reloader = Reloader(folder, seen, worker, tables)
    if reload:
        reloader.start()
    where = f"[{host}]" if ":" in host else host
    LOG.info("model %s, made %s", loaded.id, loaded.made)
    LOG.info("listening on http://%s:%d", where, listening.getsockname()[1])
    asyncio.run(server.serve(sockets=[listening]))
    idle = reloader.stop()
    LOG.info("stopped")
    return worker.stop(limits.stop_seconds) and idle


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
      UserError: there is no such address, or it is taken.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"can't listen on {host}, port {port}: expected 0 to 65535")
    if host not in LOOPBACK:
        LOG.warning(
            "--host=%s: every machine that reaches this address can ask for scores; there is "
            "neither a password nor encryption",
            host,
        )
    try:
        flags = socket.AI_PASSIVE
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=flags
        )[0]
        found = socket.socket(family, kind, protocol)  # asyncio answers at once where it says TCP
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(BACKLOG)
        except BaseException:
            found.close()
            raise
        return found
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"can't listen on {host}, port {port}: {error}") from None
