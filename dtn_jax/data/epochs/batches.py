"""How batches are made, and made ahead of the one who needs them.

Two ways bring the batches of an epoch to the step, in the same order (`epoch_order.py`) with the
same content: `ResidentData` keeps the whole split on the device and gathers rows there;
`StreamedData` reads blocks from disk, a window ahead of the step.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator
from typing import TypeVar

from dtn_jax.options import option

T = TypeVar("T")
END = object()  # of what is prefetched
PLACEMENTS = ("auto", "device", "stream")
ORDERS = ("shuffled", "day")
CHUNK_STEPS = 16  # batches handed to the device at once


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """Section `data`: batches."""

    batch_size: int = option(1024, "examples a step, over all devices", least=1)
    eval_batch_size: int = option(
        4096, "examples a scoring step; changes scores by rounding alone", least=1, runtime=True
    )
    order: str = option(
        "shuffled",
        "of train's rows: shuffled, or day after day, shuffled within each (its last batch is "
        "padded), which depends on that day's rows alone and not on the set's lanes and blocks; "
        "streamed, each of several processes then reads all rows",
        choices=ORDERS,
    )
    placement: str = option(
        "auto",
        "device: resident, for sets that fit; stream: read from disk",
        choices=PLACEMENTS,
        runtime=True,
    )
    device_bytes: int = option(
        4_000_000_000,
        "bytes; with auto, a set up to this size is placed on the device",
        least=0,
        runtime=True,
    )


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
