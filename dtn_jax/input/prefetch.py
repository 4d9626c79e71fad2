"""Work ahead of the one who needs it, in a thread."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
END = object()


def prefetched(items: Iterator[T]) -> Iterator[T]:
    """The same items; while the caller uses one, a thread makes the next.

    One and no more, so memory stays bounded. An error of the thread is raised where its item
    would have come. When the items end, or this iterator is closed or forgotten, the thread ends
    too, once it has made the item that it is at.
    """
    thread = concurrent.futures.ThreadPoolExecutor(1, "prefetch")
    try:
        coming = thread.submit(next, items, END)
        while (item := coming.result()) is not END:
            coming = thread.submit(next, items, END)
            yield item
    finally:
        thread.shutdown(wait=False, cancel_futures=True)
