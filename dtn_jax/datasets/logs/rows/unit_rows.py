"""The good rows of a unit, with the split of each: what fitting and encoding both read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from dtn_jax.datasets.logs.raw import read
from dtn_jax.datasets.logs.rows import splits, user_histories, user_order
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.logs.rows.checker import Checker, Rows, columns
from dtn_jax.datasets.logs.rows.columns import may_lack
from dtn_jax.datasets.logs.work_folder import Work
from dtn_jax.shapes import Int8


@dataclasses.dataclass
class SplitRows:
    """Good rows of a chunk.

    Attributes:
      rows: the rows that negative down-sampling keeps; their weights make up for the others.
      split: int8 `[B]`, each one's place in `splits.SPLITS`.
      every: the rows before that.
      every_split: of those.
    """

    rows: Rows
    split: Int8[np.ndarray, " B"]
    every: Rows
    every_split: Int8[np.ndarray, " A"]


def checked(work: Work, index: int, account: Account, chunk_rows: int = 0) -> Iterator[Rows]:
    """The rows of a unit that pass every check; `account` counts the others.

    Args:
      work: the log.
      index: of the unit.
      account: of bad rows.
      chunk_rows: rows to read at a time; 0 is the work's own number.
    """
    unit = work.units[index]
    file = work.files[unit.file]
    checker = Checker(work.spec, work.time_unit, account)
    size = chunk_rows or work.chunk_rows
    wanted, lacking = columns(work.spec), may_lack(work.spec)
    for chunk in read.chunks(file, unit, wanted, work.spec.input, size, lacking):
        account.broken(file.address, chunk.broken)
        yield checker.rows(file.address, chunk.frame, chunk.numbers)


def split_rows(
    work: Work, index: int, account: Account, chunk_rows: int = 0
) -> Iterator[SplitRows]:
    """The same rows with their splits, down-sampled."""
    file = work.units[index].file
    cuts = work.cuts
    histories = user_histories.Listed(work, index) if work.spec.histories() else None
    order = user_order.Assigned(work, index) if work.spec.split.by == "user_order" else None
    for rows in checked(work, index, account, chunk_rows):
        if histories is not None:
            rows.values |= histories.next(rows)
        if order is not None:
            found = order.next(len(rows))
        else:
            found = splits.assign(work.spec, cuts, file, rows)
        if (found == splits.NONE).any():
            bad = found == splits.NONE
            names = rows.take(bad).split
            address = work.files[file].address
            reason = splits.unknown(work.spec.split)
            account.add(address, rows.numbers[bad], reason, names.name, names)
            rows, found = rows.take(~bad), found[~bad]
        stay, weight = splits.sampled(work.spec, file, rows, found)
        kept = rows.take(stay)
        if weight is not None:
            weight = weight[stay] if kept.weight is None else kept.weight * weight[stay]
            kept = dataclasses.replace(kept, weight=weight)
        yield SplitRows(kept, found[stay], rows, found)
