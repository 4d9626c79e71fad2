"""A set in memory whose rows tell their numbers, and notes what was read."""

import dataclasses
import pathlib

import numpy as np

from dtn_jax.data.prepared import Prepared
from dtn_jax.schema import Field, Schema, Task


def stored_rows(layout, rows, split="train", days=None):
    """A set of one split, whose one id is the row's number plus one; its label is half of that.

    `days` are those of the rows, if they have any.
    """
    schema = Schema("s", (Field("number", rows=rows + 1),), (Task("click"),))
    ids = [np.arange(a, a + layout.block_rows)[:, None] + 1 for a in layout.starts(rows)[:-1]]
    ids = [i.astype(np.int32) for i in ids]
    records = Records([{"ids": i, "labels": i / 2, "label_mask": i > 0} for i in ids])
    if days is not None:
        schema = dataclasses.replace(schema, day="t")
        padded = np.append(np.asarray(days, np.int32), np.zeros(layout.block_rows, np.int32))
        for record, start in zip(records, layout.starts(rows)):
            record["day"] = padded[start : start + layout.block_rows]
    return InMemory(pathlib.Path(), schema, layout, {split: rows}, {}, "", "", {split: records})


class InMemory(Prepared):
    def stored(self, split):
        return self.notes[split]


class Records(list):
    """A list of blocks; `taken` has the numbers of those that were read, `most` at once."""

    def __init__(self, blocks):
        super().__init__(blocks)
        self.taken, self.most = [], 0

    def __getitems__(self, keys):
        self.taken += keys
        self.most = max(self.most, len(keys))
        return [self[k] for k in keys]
