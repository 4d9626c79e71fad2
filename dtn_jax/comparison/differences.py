"""Two models on the same rows: their metrics, and B's less A's with intervals."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.special import expit

from dtn_jax.comparison import scored_rows
from dtn_jax.comparison.scored_rows import Columns, ScoredRows
from dtn_jax.config import plugins
from dtn_jax.errors import UserError
from dtn_jax.metrics import METRICS, Influence, Units, influences
from dtn_jax.metrics.gains import gains_of
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.paired import FEWEST, compare, signs
from dtn_jax.metrics.significance import DRAWS, FEW, Comparison, Name, holm
from dtn_jax.metrics.significance import compare as bootstrap
from dtn_jax.run.outcome import runs_in

LEVEL = 0.05
Compared = tuple[list[ScoredRows], list[ScoredRows], list["Difference"]]  # of A, of B, B − A
# task@space; {metric: its influence} of each run of a side, A's and B's; rows, positives, binary?
Family = tuple[str, Sequence[Sequence[Mapping[str, Influence]]], int, int, bool]
ROUNDING = 1e-6  # of a metric's scale: the same model on other devices, with sums in other orders


@dataclasses.dataclass(frozen=True)
class Difference:
    """A metric of a task in a space.

    Attributes:
      key: task@space.
      metric: a key of METRICS.
      a, b: the metric of each run of a side.
      difference, low, high: mean of B less mean of A, with its 95 % interval; NaN: not defined,
        or, of the interval, too few rows or groups for one.
      p: two-sided, of no difference; 1 where that is as small as rounding, NaN where there are too
        few rows or groups.
      p_holm: after Holm's correction over all tasks and spaces of the metric.
      least: the lowest p that the draws can tell.
      rows, positives: in the space.
      few: why there is no p-value; "" where there is one.
    """

    key: str
    metric: str
    a: tuple[float, ...]
    b: tuple[float, ...]
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    least: float
    rows: int
    positives: int
    few: str = ""

    @property
    def better(self) -> str:
        """A or B where one is significantly better, else "".

        Where a metric has a target, as predicted/observed has 1, the one nearer to it, if both err
        to one side: p holds of the distances then.
        """
        if not self.p_holm < LEVEL:
            return ""
        record = METRICS[self.metric]
        sign = 1 if record.higher_is_better else -1
        if record.target is not None:
            off = [statistics.mean(side) - record.target for side in (self.a, self.b)]
            sign = -1 if min(off) >= 0 else 1 if max(off) <= 0 else 0
        return "" if not sign else "B" if self.difference * sign > 0 else "A"


def compared(a: str, b: str, columns: Columns, draws: int, files: str = "") -> Compared:
    """The rows of both sides, in one order, and the differences.

    Args:
      a, b: a run's workdir, several seeds by comma, or a Parquet file.
      columns: of such a file.
      draws: exchanges of scores, for p and intervals.
      files: plug-ins, whose metrics are compared too; "" is those of the runs.

    Raises:
      UserError: a side cannot be read, one of `files` is gone, or the two are not of the same rows.
    """
    plugins.load(files)
    places = [places_of(text) for text in (a, b)]
    if not files:
        scored_rows.load_plugins(p for side in places for p in side if p.is_dir())
    sides: list[list[ScoredRows]] = [[], []]
    schema = None
    for i in sorted((0, 1), key=lambda i: not places[i][0].is_dir()):  # the schema of a run says
        for place in places[i]:  # what is in a file
            if place.is_dir():
                rows, schema = scored_rows.of_run(place)
            else:
                rows = scored_rows.of_file(place, schema, columns)
            sides[i].append(rows)
        scored_rows.check_one_model(sides[i])
    if not any(run.group is not None or run.ungrouped for run in (*sides[0], *sides[1])):
        raise UserError(scored_rows.ASK)
    aligned(*sides)
    return *sides, differences(*sides, draws) + rank_differences(*sides, draws)


def places_of(text: str) -> list[pathlib.Path]:
    """The runs or files of a side: a path, or several by comma; of a folder of replicas all."""
    paths = [pathlib.Path(part.strip()).expanduser() for part in text.split(",")]
    return [run for path in paths for run in (runs_in(path) if path.is_dir() else [path])]


def aligned(a: list[ScoredRows], b: list[ScoredRows]) -> None:
    """Puts the rows of all in the order of the first one's.

    Args:
      a, b: the runs of each side; those of the lists are replaced.

    Raises:
      UserError: the data of runs differ, rows are missing or twice, or labels differ.
    """
    first = a[0]
    if not len(first.key):
        raise UserError(f"{first.name} has no rows")
    for side in (a, b):
        for i, other in enumerate(side):
            if first.data and other.data and first.data != other.data:
                raise UserError(
                    f"{first.name} and {other.name} cannot be compared: they were tested on "
                    f"different data (fingerprints {first.data[:12]} and {other.data[:12]})"
                )
            side[i] = other.take(_order(first, other)) if other is not first else other
    every = [*a, *b]
    for other in every[1:]:
        for task in first.labels.keys() & other.labels.keys():
            labels = first.labels[task], other.labels[task]
            _check_equal(first, other, f"the label of {task!r}", *labels)
    weighted = [run for run in every if run.weight is not None]
    for other in weighted[1:]:
        _check_equal(weighted[0], other, "the weight", weighted[0].weight, other.weight)
    grouped = [run for run in every if run.group is not None]
    for other in grouped[1:]:  # whatever groups are called, the same rows must be in one
        pairs = pl.DataFrame({"one": grouped[0].group, "two": other.group})
        counts = pairs["one"].n_unique(), pairs["two"].n_unique()
        if not counts[0] == counts[1] == pairs.n_unique():
            raise UserError(
                f"{grouped[0].name} has its rows in {counts[0]:,} groups, {other.name} in "
                f"{counts[1]:,}, and they are not the same: give --group=COLUMN"
            )


def _order(first: ScoredRows, other: ScoredRows) -> np.ndarray:
    """Where each row of the first lies in the other."""
    keys = [first.key, other.key]
    if keys[0].dtype != keys[1].dtype or not keys[0].dtype.is_integer():
        # A number in one file may be a text in the other.
        keys = [key.cast(pl.String) for key in keys]
    for rows, key in zip((first, other), keys):
        bad = key.filter(key.is_null() | key.is_duplicated())
        if len(bad):
            raise UserError(
                f"{rows.name}: rows are not matched by {rows.key.name!r}, which has {bad[0]!r} "
                "more than once: give --key=COLUMN"
            )
    one, two = (pl.DataFrame({"key": key}).with_row_index(name) for key, name in zip(keys, "ab"))
    both = one.join(two, on="key", how="left", maintain_order="left")
    missing = both.filter(pl.col("b").is_null())["key"]
    if len(missing) or len(one) != len(two):
        raise UserError(
            f"{first.name} has {len(one):,} rows, {other.name} has {len(two):,}, which lacks "
            f"{len(missing):,} of them: both sides need the same test rows"
        )
    return both["b"].to_numpy()


def _check_equal(
    first: ScoredRows, other: ScoredRows, what: str, one: np.ndarray, two: np.ndarray
) -> None:
    """Raises UserError where a column of two sides differs; missing on both is equal."""
    apart = np.flatnonzero(~np.isclose(one, two, rtol=1e-6, atol=0, equal_nan=True))
    if apart.size:
        at = int(apart[0])
        raise UserError(
            f"{first.name} and {other.name}: {what} differs in {apart.size:,} of {len(one):,} "
            f"rows, the first where {first.key.name!r} is {first.key[at]!r}: {one[at]:g} and "
            f"{two[at]:g}; both sides need the same rows"
        )


def differences(
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], draws: int = DRAWS
) -> list[Difference]:
    """Every metric of every task@space that both sides have; rows must be `aligned`."""
    every = [*a, *b]
    group, weight = shared_columns(every)
    plain = [r for r in every if r.config is not None and r.weight is None]
    if weight is not None and plain:
        weighted = next(r for r in every if r.weight is not None)
        raise UserError(
            f"{weighted.name} counts rows by their weights, and {plain[0].name} does not "
            "(evaluate.sample_weights). Of a file, --weight=none leaves the weights out"
        )
    bins = next((r.bins for r in every if r.config is not None), 15)
    shared = [key for key in a[0].scores if all(key in r.scores for r in every)]
    if not shared:
        raise UserError(f"{a[0].name} and {b[0].name} have no task in a space in common")
    units = Units(len(a[0].key), group)

    def measured() -> Iterator[Family]:
        for key in shared:
            task = key.partition("@")[0]
            at = places(a[0], key, weight)
            labels = a[0].labels[task][at]
            weights = None if weight is None else weight[at].astype(np.float64)
            same = (labels, weights, None if group is None else group[at], bins)
            sides = [[_influences(run, key, at, same, units) for run in side] for side in (a, b)]
            yield key, sides, len(at), int((labels == 1).sum()), a[0].kinds[task] == "binary"

    return tested(measured(), signs(units.count, draws), group is not None)


def rank_differences(
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], draws: int = DRAWS
) -> list[Difference]:
    """How well `rank` orders the rows by each label of 0 or more, under the key `rank: TASK`.

    Rows must be `aligned`. [] unless each run and file has a ranking score.

    Raises:
      UserError: a row with a label has no ranking score.
    """
    every = [*a, *b]
    if any(run.rank is None for run in every):
        return []
    group, weight = shared_columns(every)
    labels = {n: label for n, label in a[0].labels.items() if all(n in r.labels for r in every)}

    def measured() -> Iterator[Family]:
        for name, gains in gains_of(labels, group, weight):
            at = gains.places
            for run in every:
                if bad := np.count_nonzero(np.isnan(run.rank[at])):
                    raise UserError(
                        f"{run.name}: {bad:,} of {len(at):,} rows have no ranking score"
                    )
            sides = [[gains.influences(run.rank[at]) for run in side] for side in (a, b)]
            yield f"rank: {name}", sides, len(at), int((gains.gain > 0).sum()), True

    units = Units(len(a[0].key), group)
    return tested(measured(), signs(units.count, draws), group is not None)


def shared_columns(every: Sequence[ScoredRows]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The group of each row, and its weight where rows count by it."""
    columns = ([getattr(run, name) for run in every] for name in ("group", "weight"))
    return tuple(next((one for one in of if one is not None), None) for of in columns)


def tested(families: Iterable[Family], drawn: np.ndarray, grouped: bool) -> list[Difference]:
    """B less A of every metric, with Holm's correction over those of one metric."""
    every = []
    for key, sides, rows, positives, binary in families:
        for metric in sides[0][0]:
            a, b = ([run[metric] for run in side] for side in sides)
            values = (tuple(run.value for run in side) for side in (a, b))
            few = too_few(a[0], rows, positives, binary, grouped)
            one = _tested(metric, a, b, drawn)
            if few:
                one = one._replace(low=math.nan, high=math.nan, p=math.nan)
            counts = (math.nan, one.least, rows, positives, few)
            every.append(Difference(key, metric, *values, *one[:4], *counts))
    adjusted = {}
    for metric in dict.fromkeys(d.metric for d in every):
        adjusted |= holm({d: d.p for d in every if d.metric == metric and not math.isnan(d.p)})
    return [dataclasses.replace(d, p_holm=adjusted.get(d, math.nan)) for d in every]


def _influences(
    run: ScoredRows, key: str, at: np.ndarray, same: tuple, units: Units
) -> dict[str, Influence]:
    """{metric: its influence}, of the rows `at` these places; `same`: the rest of Rows."""
    try:
        rows = Rows(run.kinds[key.partition("@")[0]], run.scores[key][at], *same)
    except ValueError as error:
        raise UserError(f"{run.name}: {key}: {error}") from None
    return influences(rows, units.at(at))


def _tested(
    metric: str, a: Sequence[Influence], b: Sequence[Influence], drawn: np.ndarray
) -> Comparison:
    """B less A; NaN where the metric is not defined for all."""
    values = [run.value for run in (*a, *b)]
    if not np.isfinite(values).all():
        return Comparison(*[math.nan] * 5)
    bounded = METRICS[metric].bounded
    tested = compare(b, a, drawn, 1.0 if bounded else math.inf)
    scale = 1.0 if bounded else max(map(abs, values))
    return tested._replace(p=1.0) if abs(tested.difference) <= ROUNDING * scale else tested


def too_few(metric: Influence, rows: int, positives: int, binary: bool, grouped: bool) -> str:
    """Why rows or groups are too few, or count too unequally, to tell anything; "" if not."""
    count = min(positives, rows - positives) if binary else rows
    if count < FEW:
        return f"it has {count:,} {'rows of a class' if binary else 'rows'}, and needs {FEW}"
    if not metric.effective < FEWEST - 1e-6:
        return ""
    what = "groups" if grouped else "rows"
    return f"its {what} count as {metric.effective:.1f} of equal size, and it needs {FEWEST}"


def places(rows: ScoredRows, key: str, weight: np.ndarray | None) -> np.ndarray:
    """The places of the rows of a task in a space, those that count."""
    task, _, space = key.partition("@")
    mask = ~np.isnan(rows.labels[task])
    if space != "all":
        if space not in rows.labels:
            raise UserError(f"{rows.name}: {key} needs the label of {space!r}")
        mask &= rows.labels[space] == 1
    if weight is not None:
        mask &= weight > 0
    return np.flatnonzero(mask)


def means(a: Sequence[ScoredRows], b: Sequence[ScoredRows], key: str) -> list[np.ndarray]:
    """[what it predicts, what is observed] of each side, the mean over the rows of a task in a
    space and over runs: for a binary task the shares of positives."""
    (_, weight), task = shared_columns([*a, *b]), key.partition("@")[0]
    at = places(a[0], key, weight)
    weights = None if weight is None else weight[at]

    def of(run: ScoredRows) -> list[float]:
        scores = run.scores[key][at].astype(np.float64)
        predicted = expit(scores) if run.kinds[task] == "binary" else scores
        return [np.average(values, weights=weights) for values in (predicted, run.labels[task][at])]

    return [np.mean([*map(of, side)], axis=0) for side in (a, b)]


class Sampled(NamedTuple):
    """The AUC of a row of a table, on a task in a space.

    Attributes:
      values: `[S]`, of each seed, on the test examples as they are.
      draws: `[S, R]`, under draws of them, the same for all models (`resampled_aucs`).
    """

    values: np.ndarray
    draws: np.ndarray


def compare_rows(family: Mapping[Name, tuple[Sampled, Sampled]]) -> dict[Name, dict[str, float]]:
    """Compares rows of a table by the hierarchical bootstrap over test examples and seeds.

    Args:
      family: {claim: the one row and the other}.

    Returns:
      {claim: the first less the second}: what `metrics.significance.Comparison` has, and `p_holm`,
      p after Holm's correction over the family.
    """
    tested = {
        name: bootstrap(one.draws, other.draws, one.values, other.values)
        for name, (one, other) in family.items()
    }
    adjusted = holm({name: one.p for name, one in tested.items()})
    return {name: one._asdict() | {"p_holm": adjusted[name]} for name, one in tested.items()}
