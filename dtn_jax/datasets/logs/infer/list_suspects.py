"""Lists that tell a label too well: by their values, by one entry of a vector, or by their sums.

Each value of a bag has the log-odds of the label, smoothed towards the label's rate by M rows
(D. Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, SIGKDD
Explorations 3(1), 2001); a row is ranked by the sum of those of its values, as naive Bayes does.
The log-odds, and which entry of a vector is taken, are of one half of the sample, the AUC of the
other: so a choice among many values or entries finds nothing in random labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import sparse

from dtn_jax.datasets.logs.infer import suspects
from dtn_jax.datasets.logs.infer.columns import column
from dtn_jax.datasets.logs.infer.lists import KEPT, ListColumn
from dtn_jax.datasets.logs.infer.suspects import Target
from dtn_jax.datasets.logs.infer.words import shown
from dtn_jax.metrics.auc import auc
from dtn_jax.shapes import Bool, Float, Float64, Int

M = 10  # rows at the label's rate that each value of a bag has beside its own
RANGES = 32  # of an entry's numbers, when the entry is chosen
EDGES = 10_000  # numbers by which the ranges are cut


def suspicion(c: ListColumn, kind: str, targets: Sequence[Target]) -> str:
    """Why a list column is suspect; '' where it is not.

    Args:
      c: the column.
      kind: bag or vector; of other lists of numbers, such as weights, the sums are tried.
      targets: the labels.
    """
    why = suspects.list_suspicion(c.lengths, targets)
    able = [target for target in targets if target.enough]
    if why or not able:
        return why
    if kind == "bag":
        return _of_bag(c, able)
    if kind == "vector":
        return _of_vector(c, able)
    return _of_sums(c, able) if c.is_finite else ""


def _told(what: str, found: float, target: Target) -> str:
    return f"a label in disguise? {what} AUC {found:.4f} on {target.name}"


@dataclasses.dataclass(frozen=True)
class _Bags:
    """The first KEPT values of each list, which are those that a field keeps.

    Attributes:
      times: how often a row's list has each value.
      different: the values.
      empty: the rows without a value.
    """

    times: sparse.csr_array
    different: pl.Series
    empty: Bool[np.ndarray, " R"]


def _bags(c: ListColumn) -> _Bags:
    kept = c.raw.list.head(KEPT)
    lengths = np.clip(c.lengths, 0, KEPT)
    values = column(kept.filter(lengths > 0).explode().alias(c.name))
    there = values.codes >= 0
    rows = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[there]
    counts = np.bincount(rows, minlength=len(lengths))
    begins = np.append(0, np.cumsum(counts))
    ones = np.ones(len(rows), np.float32)
    shape = len(lengths), values.distinct
    times = sparse.csr_array((ones, values.codes[there], begins), shape=shape)
    return _Bags(times, values.different, counts == 0)


def _of_bag(c: ListColumn, able: Sequence[Target]) -> str:
    bags = _bags(c)
    if not len(bags.different):
        return ""
    found, target, value = max((_of_values(bags, t) for t in able), key=lambda own: own[0])
    if found <= suspects.MOST:
        return ""
    most = f"The values of its lists, {shown(bags.different[value])} most of all, alone have"
    return _told(most, found, target)


def _of_values(bags: _Bags, target: Target) -> tuple[float, Target, int]:
    """AUC of the lists' values on the half that is tried; and which value tells most."""
    fitted, ones = (np.zeros(len(bags.empty), np.float32) for _ in range(2))
    fitted[target.known[target.fitted]] = 1
    ones[target.known[target.fitted & target.ones]] = 1
    rate = float(ones.sum() / fitted.sum())
    by_value = bags.times.T
    count, won = (np.append(by_value @ y, y[bags.empty].sum()) for y in (fitted, ones))
    odds = _log_odds(won, count, rate)
    scores = np.where(bags.empty, odds[-1], bags.times @ odds[:-1].astype(np.float32))
    tried = ~target.fitted
    found = auc(scores[target.known[tried]], target.ones[tried])
    return found, target, int(np.argmax((won - rate * count)[:-1]))


def _log_odds(
    ones: Float[np.ndarray, " V"], rows: Float[np.ndarray, " V"], rate: float
) -> Float64[np.ndarray, " V"]:
    """What a value adds to the log-odds of the label; 0 of one that is in no row."""
    p = (ones.astype(np.float64) + M * rate) / (rows + M)
    return np.log(p / (1 - p)) - np.log(rate / (1 - rate))


def _of_vector(c: ListColumn, able: Sequence[Target]) -> str:
    there = c.lengths >= 0
    numbers = c.raw.filter(there).explode().to_numpy().reshape(-1, c.length)
    classes = [_classes(target, len(there)) for target in able]
    best = [(0.0, 0)] * len(able)
    for entry in range(c.length):
        codes = _ranges(numbers[:, entry], there)
        for n, own in enumerate(classes):
            best[n] = max(best[n], (_fit(codes, own), entry), key=lambda pair: pair[0])
    made = []
    for target, (_, entry) in zip(able, best, strict=True):
        ranges = suspects.of_means(_ranges(numbers[:, entry], there), target)
        made.append((max(ranges, _as_it_is(numbers[:, entry], there, target)), target, entry))
    found, target, entry = max(made, key=lambda own: own[0])
    if found <= suspects.MOST:
        return ""
    return _told(f"The entry [{entry}] of its vectors alone has", found, target)


def _ranges(
    numbers: Float[np.ndarray, " K"], there: Bool[np.ndarray, " R"]
) -> Int[np.ndarray, " R"]:
    """The range of each row's number, from 1 on; 0 where it has none."""
    some = numbers[:: max(1, len(numbers) // EDGES)]
    own = np.ones(len(numbers), np.int8)
    contiguous = np.ascontiguousarray(numbers)
    for edge in np.unique(np.quantile(some, np.arange(1, RANGES) / RANGES, method="lower")):
        own += contiguous >= edge  # a fifth of the time that searchsorted takes
    codes = np.zeros(len(there), np.int8)
    codes[there] = own
    return codes


def _classes(target: Target, rows: int) -> Int[np.ndarray, " R"]:
    """Of the half that is fitted 1, or 2 where the label is 1; 0 of all other rows."""
    classes = np.zeros(rows, np.int64)
    classes[target.known[target.fitted]] = 1 + target.ones[target.fitted]
    return classes


def _fit(codes: Int[np.ndarray, " R"], classes: Int[np.ndarray, " R"]) -> float:
    """How well the codes tell the half that is fitted: the higher, the better.

    The AUC of the label's mean of each code, and that of the codes as they are: of few rows, many
    entries have the first by chance.
    """
    size = RANGES + 1
    counts = np.bincount(classes * size + codes, minlength=3 * size).reshape(3, size)
    ones, rows = counts[2], counts[1] + counts[2]
    means = suspects.auc_of_counts(ones / np.maximum(rows, 1), ones, rows)
    order = suspects.auc_of_counts(np.arange(size, dtype=np.float64), ones, rows)
    return means + max(order, 1 - order)


def _as_it_is(
    numbers: Float[np.ndarray, " K"], there: Bool[np.ndarray, " R"], target: Target
) -> float:
    """AUC of numbers, in the better direction, on the half that is tried; 0.5 of few rows."""
    tried = ~target.fitted & there[target.known]
    ones = target.ones[tried]
    if min(ones.sum(), (~ones).sum()) < suspects.LEAST:
        return 0.5
    place = np.cumsum(there) - 1
    found = auc(numbers[place[target.known[tried]]].astype(np.float64), ones)
    return max(found, 1 - found)


def _of_sums(c: ListColumn, able: Sequence[Target]) -> str:
    found, target = suspects.alone(column(c.raw.list.head(KEPT).list.sum()), able)
    if found <= suspects.MOST:
        return ""
    return _told("The sums of its lists alone have", found, target)
