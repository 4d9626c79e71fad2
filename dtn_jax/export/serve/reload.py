"""A new model takes the place of the old one while the server runs.

The folder that the command names is looked at every second: another one that was renamed there, or
a symbolic link that leads to another. The new model is loaded, verified and compiled beside the old
one, and takes over between two calls; so no request is lost. A model that can't be loaded is told,
and the old one stays; so is one that needs more columns, gives fewer outputs, or reads other values
from a column, since the requests that the old one answers would be refused.
"""

from __future__ import annotations

import logging
import os
import pathlib
import threading
import warnings

from dtn_jax.errors import UserError
from dtn_jax.export.model_folder import MANIFEST
from dtn_jax.export.serve.loaded import Loaded, load
from dtn_jax.export.serve.reading import OR_NULL, widened
from dtn_jax.export.serve.worker import Worker

LOG = logging.getLogger("dtn_jax.serve")
SECONDS = 1.0  # between two looks
IDLE = 0.2  # seconds in which one that only waits has ended
State = tuple[tuple[str, int, int, int, int], ...]


class Reloader:
    """Watches a model's folder for a worker."""

    def __init__(
        self,
        folder: pathlib.Path,
        seen: State,
        worker: Worker,
        tables: str = "memory",
        seconds: float = SECONDS,
    ):
        """`seen` is the state of the folder from which the worker's model was loaded."""
        self.folder, self.worker, self.tables, self.seconds = folder, worker, tables, seconds
        self._seen = seen
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """Looks no more; whether no model is being loaded, in which an orderly end would crash."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(IDLE)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self.worker.ready.wait()
        while not self._stop.wait(self.seconds):
            self.look()

    def look(self) -> None:
        """Takes what lies in the folder now, if it is another model than before."""
        now = state(self.folder)
        if now == self._seen or not any(name == MANIFEST for name, *_ in now):
            return  # in the middle of two renames there is nothing
        counted = self.worker.counters.reloads
        try:
            new = self._load()
        except Exception as error:  # a broken model must not end the server
            if state(self.folder) == now:  # else it is being written: look again
                self._seen = now
                counted.labels("refused").inc()
                told = error if isinstance(error, UserError) else repr(error)
                LOG.error("the new model is refused, the old one stays: %s", told)
            return
        if state(self.folder) != now:
            return  # it has changed meanwhile
        self._seen, old = now, self.worker.loaded
        self.worker.loaded = new
        counted.labels("swapped").inc()
        LOG.info("model %s (%s) takes over from %s", new.id, new.made, old.id)

    def _load(self) -> Loaded:
        """Raises UserError where the model can't be loaded, or does not fit the clients."""
        with warnings.catch_warnings(record=True) as told:
            new = load(self.folder, self.worker.limits.max_batch, self.tables)
        for warning in told:
            LOG.warning("%s", warning.message)
        if told := unfit(self.worker.loaded, new):
            raise UserError(f"{told}; a restart of the server serves it")
        new.warm()
        return new


def unfit(old: Loaded, new: Loaded) -> str:
    """Why the clients of one model would be refused by another; "" where they would not."""
    told = []
    sent = [name for name in old.reading.columns if name not in old.reading.optional]
    needed = [name for name in new.reading.columns if name not in new.reading.optional]
    if more := [name for name in needed if name not in sent]:
        told.append(f"it needs columns that the old one does not: {', '.join(map(repr, more))}")
    if less := [name for name in old.reading.outputs if name not in new.reading.outputs]:
        told.append(f"it lacks outputs that the old one gives: {', '.join(less)}")
    before, now = old.reading.expected, new.reading.expected
    told += [
        f"column {name!r} now holds {now[name].removesuffix(OR_NULL)}, not "
        f"{before[name].removesuffix(OR_NULL)}"
        for name in old.reading.columns
        if name in now and not widened(before[name], now[name])
    ]
    return "; ".join(told)


def state(folder: pathlib.Path) -> State:
    """What tells two models in one place apart: of each file its identity, size and time."""
    found = []
    try:
        top = folder.resolve(strict=True)
        for place, _, names in os.walk(top):
            for name in names:
                path = pathlib.Path(place) / name
                at = path.stat()
                own = path.relative_to(top).as_posix()
                found.append((own, at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns))
    except OSError:  # it is being renamed
        return ()
    return tuple(sorted(found))
