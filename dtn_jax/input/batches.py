"""How batches are made.

Two ways bring the batches of an epoch to the step, in the same order (`epoch_order.py`) with the
same content: `ResidentData` keeps the whole split on the device and gathers rows there;
`StreamedData` reads blocks from disk, a window ahead of the step.
"""

from __future__ import annotations

import dataclasses

from dtn_jax.options import option

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
