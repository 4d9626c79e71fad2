"""Which split a row belongs to, and which train rows negative down-sampling keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.schema.spec import Spec, SplitSpec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Float32, Float64, Int8, Int64

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
NONE = -1  # of a row that the column of splits names none of

Cuts = Mapping[str, int]  # {validation, test: the first time of the split}


def assign(spec: Spec, cuts: Cuts, file: int, rows: Rows) -> Int8[np.ndarray, " B"]:
    """The split of each row: its place in SPLITS, or NONE.

    Args:
      spec: the schema file.
      cuts: of a split by time.
      file: the place of the rows' file in the list of files.
      rows: the rows.
    """
    return _WAYS[spec.split.by](spec, cuts, file, rows)


def _by_time(spec: Spec, cuts: Cuts, file: int, rows: Rows) -> Int8[np.ndarray, " B"]:
    later = rows.time >= cuts["validation"]
    return (later.astype(np.int8) + (rows.time >= cuts["test"])).astype(np.int8)


def _by_group(spec: Spec, cuts: Cuts, file: int, rows: Rows) -> Int8[np.ndarray, " B"]:
    return _drawn(spec.split, keys.keys(rows.group)[0])


def _at_random(spec: Spec, cuts: Cuts, file: int, rows: Rows) -> Int8[np.ndarray, " B"]:
    return _drawn(spec.split, row_keys(file, rows))


def _drawn(split: SplitSpec, made: np.ndarray) -> Int8[np.ndarray, " B"]:
    number = keys.drawn(made, split.seed)
    test = number < split.test
    validation = ~test & (number < split.test + split.validation)
    return np.where(test, TEST, np.where(validation, VALIDATION, TRAIN)).astype(np.int8)


def _by_column(spec: Spec, cuts: Cuts, file: int, rows: Rows) -> Int8[np.ndarray, " B"]:
    """By the values' keys, as ids have them: 2, 2.0 and '2' are one; or by their texts."""
    texts, (made, there) = rows.split.cast(pl.String), keys.keys(rows.split)
    found = np.full(len(rows), NONE, np.int8)
    for place, values in enumerate(expected(spec.split).values()):
        wanted = keys.keys(pl.Series(values, dtype=pl.String))[0]
        found[texts.is_in(list(values)).to_numpy() | (there & np.isin(made, wanted))] = place
    if spec.split.values and "validation" not in spec.split.values:
        made = keys.keys(rows.group)[0] if spec.group else row_keys(file, rows)
        drawn = keys.drawn(made, spec.split.seed) < spec.split.validation
        found[drawn & (found == TRAIN)] = VALIDATION
    return found


def expected(split: SplitSpec) -> dict[str, Sequence[str]]:
    """{name: the values of the column that name this split}, in the order of SPLITS."""
    return {n: split.values.get(n, () if split.values else (n,)) for n in SPLITS}


def unknown(split: SplitSpec, shown: int = 5) -> str:
    """Why a row whose split is NONE is rejected, with the first of the expected values."""
    told = []
    for name, values in expected(split).items():
        some = ", ".join(map(repr, values[:shown])) + ", …" * (len(values) > shown)
        told += [some if values == (name,) else f"{some} for {name}"] * bool(values)
    return f"split of no known name, expected {'; '.join(told)}"


_WAYS: dict[str, Callable[..., np.ndarray]] = {
    "time": _by_time,
    "group": _by_group,
    "random": _at_random,
    "column": _by_column,
}


def row_keys(file: int, rows: Rows) -> np.ndarray:
    """A key of each row that tells it from every other row of the log, uint64 `[B]`."""
    return keys.crossed(np.full(len(rows), file, np.uint64), rows.numbers.astype(np.uint64))


def sampled(
    spec: Spec, file: int, rows: Rows, split: Int8[np.ndarray, " B"]
) -> tuple[Bool[np.ndarray, " B"], Float64[np.ndarray, " B"] | None]:
    """Which rows stay, and the weight that makes up for those that do not; None without sampling.

    A train row stays with a probability q: the largest over the tasks of `sample_negatives`, for
    each 1 where the label is 1 or not known, else the task's rate. A row that stays weighs 1 / q.
    So the weighted sum of any loss over the rows that stay is that over all rows in expectation,
    and every task's probabilities are those of the log as it was.
    """
    if not spec.sample_negatives:
        return np.ones(len(rows), bool), None
    names = [task.name for task in spec.tasks]
    stay = np.zeros(len(rows))
    for task, rate in spec.sample_negatives.items():
        label: Float32[np.ndarray, " B"] = rows.labels[:, names.index(task)]
        stay = np.maximum(stay, np.where(label == 0, rate, 1.0))
    stay = np.where(split == TRAIN, stay, 1.0)
    number = keys.drawn(row_keys(file, rows), seed=_SAMPLING)
    return number < stay, 1 / stay


_SAMPLING = 0x5EED  # apart from the seeds of a random split


def cut_by_share(
    split: SplitSpec, known: Int64[np.ndarray, " N"], rows: Int64[np.ndarray, " N"]
) -> dict[str, int]:
    """The first times of validation and test for shares of the rows, which are met as closely as
    the times allow.

    Args:
      split: gives the shares.
      known: different times, ascending.
      rows: how many rows there are at each.

    Raises:
      UserError: there are too few different times.
    """
    if len(known) < len(SPLITS):
        raise UserError(
            f"the log has rows of {len(known)} different times, too few to split it by time into "
            "train, validation and test; give another split"
        )
    before = np.cumsum(rows) - rows  # rows that come before each time
    total = rows.sum()
    test = _nearest(before, total * (1 - split.test), len(SPLITS) - 1, len(known) - 1)
    share = total * (1 - split.test - split.validation)
    validation = _nearest(before, share, 1, test - 1)
    return {"validation": int(known[validation]), "test": int(known[test])}


def _nearest(before: np.ndarray, wanted: float, least: int, most: int) -> int:
    """The place from `least` to `most` whose rows before it are nearest to those wanted."""
    places = np.arange(least, most + 1)
    return int(places[np.abs(before[places] - wanted).argmin()])
