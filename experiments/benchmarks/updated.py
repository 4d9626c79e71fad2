"""What it takes to look up and to update the rows of a packed array: memory, and traffic to it.

Letters as in `needs`; W places are updated together, a window (`update_by_sort.window_of`), on CPUs
all. Bytes of the largest arrays that are alive at once, on a device:

| part of a step | held |
|---|---|
| sums of a device's repeats | 20 N D': gradients, sorted, in blocks, summed, by rank |
| sums of an owner's rows | 4 N D' + 20 Q D': sums kept for further rounds; what the owner got, \
sorted, summed by row, in blocks, summed by line |
| a step of rows | 4 N D' + 4 Q D' + W (s + 4 moments) L: sums, lines and their slots |
| the same, on TPUs | 4 N D' + 4 Q D' + W (4 + 2 s + 8 moments) L: sums by line, what is written |
| a step of whole tables | 4 N D' + 8 Q D' + V / K (4 L + 1): the table's sums |
| the same, on every device | 8 Q D' + V (L (8 + s + 4 moments) + 8): sums, all's, new rows |

Beside each, some 32 bytes of each of Q places. With `pmap` nothing is kept for further rounds.
GPUs compute what they write in the operation that writes it.

Bytes read and written: a look-up reads a line, writes and reads the answer and writes the row.
`run_sums` reads and writes each number five times, `rank_sums` log2(n) times. A step of rows reads
and writes the line and its slots.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

from dtn_jax.tables import update_by_sort
from dtn_jax.tables.stored_rows import LANES, StoredRows
from experiments.benchmarks.exchanged import Message

RUN_SUMS = 5  # times that `run_sums` reads and writes each number


@dataclasses.dataclass(frozen=True)
class Updated:
    """A packed array on a device.

    Attributes:
      lie: how the rows lie that it holds.
      itemsize: bytes of a number in the table.
      ids: N, that it looks up.
      message: to the owners of rows that are split over devices; None where nothing is routed.
      received: Q, the places that it updates rows from.
      repeats: how often a row may be among those; 0: any number.
      moments: arrays that an optimizer keeps, of the table's shape.
      platform: cpu, gpu or tpu.
      whole: every row is stepped.
      copied: every device of a mesh has all rows.
    """

    lie: StoredRows
    itemsize: int
    ids: int
    message: Message | None
    received: int
    repeats: int
    moments: int
    platform: str
    whole: bool
    copied: bool

    @property
    def padded_width(self) -> int:
        """Numbers that a row takes outside of tables."""
        width = self.lie.width
        return -(-width // LANES) * LANES if self.platform == "tpu" else width

    @property
    def places(self) -> int:
        return self.message.places if self.message else 0

    @property
    def routes(self) -> int:
        """Bytes of what is known of a step's ids, and of the next one's."""
        return 8 * (5 * self.ids + 3 * self.places) if self.message else 16 * self.ids

    @property
    def window(self) -> int:
        if self.platform == "cpu":
            return self.received
        return update_by_sort.window_of(self.lie, self.received, self.itemsize)

    @property
    def update(self) -> int:
        """Bytes of the largest part of the update."""
        wide, lanes, received = self.padded_width, self.lie.lanes, self.received
        kept = 4 * wide * self.ids if self.message else 0
        own = 5 * kept
        together = kept + 20 * wide * received
        if self.copied:
            line = 8 + self.itemsize + 4 * self.moments
            stepped = 8 * wide * received + self.lie.lines * lanes * line + 8 * self.lie.rows
        elif self.whole:
            stepped = kept + 8 * wide * received + self.lie.lines * (4 * lanes + 1)
        else:
            line = self.itemsize + 4 * self.moments
            line = 4 + 2 * line if self.platform == "tpu" else line
            stepped = kept + 4 * wide * received + self.window * line * lanes
        return max(own, together, stepped) + 32 * received

    @property
    def traffic(self) -> int:
        """Bytes that the device's memory reads and writes for look-up and update of a step."""
        width, lanes, item = self.lie.width, self.lie.lanes, self.itemsize
        line = lanes if self.platform == "tpu" else width
        looked_up = item * (self.places * (line + 2 * width) + self.ids * width)
        own = 4 * width * self.ids * (4 + 2 * RUN_SUMS) if self.message else 0
        by_rank = math.ceil(math.log2(self.repeats)) if self.repeats > 1 else 0
        summed = 4 * self.received * (width * (4 + 2 * by_rank) + line * 2 * RUN_SUMS)
        rows = self.lie.lines if self.whole else self.received
        stepped = 2 * rows * lanes * (self.itemsize + 4 * self.moments)
        return looked_up + own + summed + stepped


def most(arrays: Collection[Updated], at_once: bool) -> int:
    """Bytes of the updates of a step: of all, or of the largest beside what others keep."""
    if at_once:
        return sum(array.update for array in arrays)
    kept = [4 * array.padded_width * array.ids for array in arrays]
    return max(array.update + sum(kept) - own for array, own in zip(arrays, kept))
