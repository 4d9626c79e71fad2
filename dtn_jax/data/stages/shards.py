"""Which records of the prepared set each shard writes.

A shard belongs to some units that follow one another: it writes the records, of every split, whose
first row is one of theirs. So a record's last rows may be of a later unit. The shards depend on the
units alone, not on who writes them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dtn_jax.data.blocks import Layout
from dtn_jax.data.stages.split import SPLITS
from dtn_jax.shapes import Int64

LEAST_ROWS = 1_000_000  # of a shard's units


def groups(counts: Int64[np.ndarray, "units splits"]) -> list[int]:
    """The first unit of each shard, and at the end the number of units."""
    firsts, held = [0], 0
    for unit, rows in enumerate(counts.sum(axis=1).tolist()):
        if held >= LEAST_ROWS:
            firsts.append(unit)
            held = 0
        held += rows
    return [*firsts, len(counts)]


@dataclasses.dataclass(frozen=True)
class Part:
    """A shard's part of a split.

    Attributes:
      first_row: of the split, that the shard's units begin with.
      starts: the rows of the split at which its records start, and where the last one ends.
      place: its place among the split's shards that have records; -1 without any.
      places: how many of those there are.
    """

    first_row: int
    starts: np.ndarray
    place: int
    places: int


def parts(
    layout: Layout, counts: Int64[np.ndarray, "units splits"], firsts: list[int], shard: int
) -> dict[str, Part]:
    """What a shard writes of each split."""
    before = np.concatenate([np.zeros((1, len(SPLITS)), np.int64), counts.cumsum(axis=0)])
    found = {}
    for column, split in enumerate(SPLITS):
        starts = layout.starts(int(before[-1, column]))
        bounds = before[np.asarray(firsts), column]
        edges = np.searchsorted(starts[:-1], bounds)  # the first record of each shard, and the end
        some = np.flatnonzero(np.diff(edges))
        place = int(np.searchsorted(some, shard)) if shard in some else -1
        own = starts[edges[shard] : edges[shard + 1] + 1]
        found[split] = Part(int(bounds[shard]), own, place, len(some))
    return found
