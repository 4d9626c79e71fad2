"""Runs tasks in several processes, which end when the one that started them does."""

from __future__ import annotations

import concurrent.futures.process
import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from typing import TypeVar

from dtn_jax.errors import UserError

T = TypeVar("T")
LOOK_SECONDS = 2.0  # between looks whether all processes live
THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS")


class Pool:
    """Processes that start when they are first needed, and go on from one `run` to the next.

    with Pool(4) as pool:
        for result in pool.run(do, tasks):
            ...

    Attributes:
      processes: how many at most; with one, all happens in this process.
    """

    def __init__(self, processes: int):
        self.processes = processes
        self._executor: concurrent.futures.ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_) -> None:
        if self._executor:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, do: Callable[..., T], tasks: Sequence[tuple]) -> Iterator[T]:
        """Yields the results of `do(*task)` in the order in which they come.

        Args:
          do: a function of a module; it and what it is given travel to the processes.
          tasks: arguments of each call. A single one is done in this process.

        Raises:
          UserError: a process was killed.
        """
        if min(self.processes, len(tasks)) <= 1:
            yield from (do(*task) for task in tasks)
            return
        waiting: set[Future[T]] = set()
        try:
            with one_thread_each():  # processes start as tasks come, until there are enough
                waiting = {self._started().submit(do, *task) for task in tasks}
            for done in self._as_completed(waiting):
                yield done.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError(
                "a process was killed, perhaps because memory ran out. What is done stays done: "
                "run the same command again, with fewer --processes. (A script that calls this "
                "needs `if __name__ == '__main__':` around its calls, or processes=1.)"
            ) from None
        finally:
            for future in waiting:
                future.cancel()

    def _as_completed(self, waiting: set[Future[T]]) -> Iterator[Future[T]]:
        """The tasks as they end.

        The executor does not notice the death of a process that it has just started while it looks
        at the others, and would wait for ever. So this looks, too.
        """
        left = waiting
        while left:
            done, left = concurrent.futures.wait(left, LOOK_SECONDS, FIRST_COMPLETED)
            yield from done
            processes = list((self._executor._processes or {}).values())
            if not done and any(not process.is_alive() for process in processes):
                for process in processes:
                    process.kill()
                raise concurrent.futures.process.BrokenProcessPool

    def _started(self) -> concurrent.futures.ProcessPoolExecutor:
        if not self._executor:
            context = multiprocessing.get_context("spawn")  # threads do not survive a fork
            self._executor = concurrent.futures.ProcessPoolExecutor(
                self.processes, context, initializer=_follow, initargs=(os.getpid(),)
            )
        return self._executor


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that start while this lasts have one thread in each of their libraries."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _follow(parent: int) -> None:
    """Ends this process when its parent is gone: a killed one cannot end it."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
