"""Work that threads share, its results in order."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator


def pool(
    stack: contextlib.ExitStack, threads: int, name: str
) -> concurrent.futures.ThreadPoolExecutor:
    """Threads that end with the stack, without what still waits."""
    pool = concurrent.futures.ThreadPoolExecutor(threads, name)
    stack.callback(pool.shutdown, wait=True, cancel_futures=True)
    return pool


def in_order(
    pool: concurrent.futures.Executor, function: Callable, items: Iterator, ahead: int
) -> Iterator:
    """`function` of each item, in order; a few are made ahead."""
    waiting: collections.deque = collections.deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
