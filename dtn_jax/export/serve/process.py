"""One process that serves one model, from its start to its orderly end, and takes new ones.

With `reload`, the model's folder is looked at every second: another one that was renamed there, or
a symbolic link that leads to another. The new model is loaded, verified and compiled beside the old
one, and takes over between two calls; so no request is lost. The old one stays where the new one
can't be loaded, or would refuse requests that the old one answers.
"""

from __future__ import annotations

import logging
import pathlib
import socket
import sys
import threading
import time

import uvicorn

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.serve.app import make_app
from dtn_jax.export.serve.limits import Limits
from dtn_jax.export.serve.requests import Contract
from dtn_jax.export.serve.worker import Worker

LOG = logging.getLogger("dtn_jax.serve")
SWITCH = 0.0005  # seconds after which threads take turns: the event loop must not wait long
SECONDS = 1.0  # between two looks at the folder
IDLE = 0.2  # seconds in which a thread that only waits has ended
RESTART = "a restart of the server serves it"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Server(uvicorn.Server):
    """Ends in an orderly way at a signal: what was accepted is answered, and the exit code is 0."""

    worker: Worker

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
    tables: str = "memory",
    token: str = "",
) -> bool:
    """Serves a model until a signal; returns whether the process may end in order.

    That is so if everything was answered in time and no new model is being loaded.

    Args:
      folder: of the model.
      host, port: where to listen; port 0 takes a free one.
      limits: of requests.
      reload: look for a new model in the folder.
      tables: see `dtn_jax.export.load`.
      token: that requests must bring; "" is none.

    Raises:
      UserError: the model can't be loaded, or the address is not free.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.captureWarnings(True)  # of a model's age
    LOG.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    stopped = threading.Event()
    worker = Worker(load(folder, limits.max_batch, tables), limits)
    if host not in LOOPBACK:
        lacks = "no encryption" if token else "neither a token nor encryption"
        LOG.warning("--host=%s: other machines can ask for scores; there is %s", host, lacks)
    listening = listen(host, port)

    def watch() -> None:
        seen = worker.contract.id
        worker.ready.wait()
        while not stopped.wait(SECONDS):
            seen = look(worker, folder, tables, seen)

    watcher = threading.Thread(target=watch, name="reload", daemon=True)
    server = Server(
        uvicorn.Config(
            make_app(worker, token),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
        )
    )
    server.worker = worker
    sys.setswitchinterval(SWITCH)
    worker.thread.start()
    if reload:
        watcher.start()
    LOG.info("model %s, made %s", worker.contract.id, worker.contract.made)
    where = f"[{host}]" if ":" in host else host
    LOG.info("listening on http://%s:%d", where, listening.getsockname()[1])
    server.run(sockets=[listening])
    stopped.set()
    time.sleep(IDLE if reload else 0)
    LOG.info("stopped")
    return worker.stop(limits.stop_seconds) and not watcher.is_alive()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises UserError where there is no such address, or it is taken."""
    if not 0 <= port < 1 << 16:
        raise UserError(f"can't listen on {host}, port {port}: expected 0 to 65535")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.create_server((host, port), family=family, backlog=1024)
        return socket.socket(fileno=opened.detach())  # knows that it is TCP: answers go at once
    except (OSError, UnicodeError) as error:
        raise UserError(f"can't listen on {host}, port {port}: {error}") from None


def load(folder: pathlib.Path, max_batch: int, tables: str) -> Contract:
    """Opens a model, all of its files verified; see `dtn_jax.export.load`."""
    id, model = model_id(folder), export.load(folder, tables=tables, largest=max_batch)
    return Contract(model, id, ascii(model.manifest.get("made", "unknown")).strip("'")[:40])


def model_id(folder: pathlib.Path) -> str:
    """See `model_folder.model_id`; "" where there is none."""
    try:
        return model_folder.model_id(folder)
    except OSError:  # it is being renamed
        return ""


def look(worker: Worker, folder: pathlib.Path, tables: str, seen: str) -> str:
    """Takes the model that lies in the folder now, if it is not that of this id; returns its id."""
    now = model_id(folder)
    if now in ("", seen):
        return seen
    try:
        new = load(folder, worker.limits.max_batch, tables)
        check(worker.contract, new)
        new.warm()
        LOG.info("model %s takes over from %s", new.id, worker.contract.id)
        worker.take(new)
        worker.metrics.reloads.labels("swapped").inc()
    except Exception as error:  # a broken model must not end the server
        worker.metrics.reloads.labels("refused").inc()
        why = error if isinstance(error, UserError) else repr(error)
        LOG.error("the new model is refused, the old one stays: %s", why)
    return now


def check(old: Contract, new: Contract) -> None:
    """Raises UserError where the new model would refuse what clients send to the old one."""
    lacks = [name for name in old.model.outputs if name not in new.model.outputs]
    if lacks:
        raise UserError(f"it lacks outputs that the old one gives: {', '.join(lacks)}; {RESTART}")
    try:
        new.model.score([{name: old.example[name] for name in old.needed}])
        new.model.score([old.example])
    except UserError as error:
        raise UserError(f"requests to the old one would fail: {error}; {RESTART}") from None
