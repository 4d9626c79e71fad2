"""Exact metrics of ten million ready scores: seconds and memory beside scikit-learn's.

One task, 5 % positive, float32 scores as a run has them, one million groups whose sizes fall as
Zipf's law has it. scikit-learn knows no mean over groups: beside ours stand loops over a sample
of the groups, extrapolated to all of them, and the same formulas by polars (ranks within groups).
XAUC is of a watch time beside the same scores, and SciPy's tau beside it.
Memory is the peak of what numpy holds beside the input, counted by tracemalloc in a run of its
own, without the clock.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import sklearn.metrics

from dtn_jax.evaluate import evaluate
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.calibration import expected_calibration_error
from dtn_jax.metrics.gauc import gauc
from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.metric import Rows as MetricRows
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.schema import Field, Schema, Task

from .evaluation_references import (
    K,
    Rows,
    kendall,
    loop_gauc,
    loop_mrr,
    loop_ndcg,
    polars_gauc,
    polars_ratio,
    polars_recall,
    quantile_ece,
    relative_loss,
)
from .measured import Goal, Measured, Options, ratio, timed_in_turns

ROWS, GROUPS = 10_000_000, 1_000_000
POSITIVE = 0.05
BINS = 15  # of the expected calibration error, as configs/base.py has it
SAMPLE = 2_000  # groups of the plain loop
ROUNDS = 3
SAME = 1e-12  # how far two ways to the same value may be apart, relative to it
# Scores are 4 bytes. Sorting rows by group takes an order and the sorted groups (8 each) and the
# groups' numbers (4, and 4 on the way), which with two masks makes 6.5 times the scores. 8 times
# is what four arrays of float64 take; an ordinary computation in float64 goes beyond that.
MEMORY = 8
MEMORY_OF_PAIRS = 18  # of XAUC: what counts pairs goes through orders and ranks of the rows
BY_LOOP = ", loop over groups"
BY_POLARS = ", polars"
BY_QUANTILES = "ECE, scikit-learn"


def measure(options: Options) -> Measured:
    size = (20_000, 2_000) if options.quick else (ROWS, GROUPS)
    rounds = 1 if options.quick else ROUNDS
    data = random_rows(*size)
    sampled = sample_of_groups(data, 100 if options.quick else SAMPLE)
    part = data.of(np.isin(data.group, sampled))
    ours, others = own_metrics(data), other_metrics(data, part)
    functions = ours | others
    values = {}

    def keep(name: str) -> Callable[[], None]:
        return lambda: values.__setitem__(name, functions[name]())

    seconds = timed_in_turns({name: keep(name) for name in functions}, rounds)
    score_bytes = data.logits.nbytes
    peaks = {n: peak(f) / score_bytes for n, f in functions.items() if BY_POLARS not in n}
    every = sampled.size / np.unique(data.group).size
    rows = []
    for name in functions:
        taken = float(np.median(seconds[name]))
        rows.append(
            {
                "metric": name,
                "value": values[name],
                "seconds": taken / every if BY_LOOP in name else taken,
                "extra memory, x scores": peaks.get(name),
            }
        )
    goals = [
        Goal(f"{ours_} in the time of {other}", 1.0, ratio(seconds[ours_], seconds[other]), False)
        for ours_, other in (("AUC", "AUC, scikit-learn"), ("log loss", "log loss, scikit-learn"))
    ]
    goals += [
        Goal(
            f"extra memory of {name}, x scores",
            MEMORY_OF_PAIRS if name == "XAUC" else MEMORY,
            peaks[name],
            at_least=False,
        )
        for name in ours
    ]
    of_part = own_metrics(part)
    pairs = {name: (values[name.partition(",")[0]], value) for name, value in values.items()}
    pairs |= {n: (of_part[n.partition(",")[0]](), values[n]) for n in pairs if BY_LOOP in n}
    goals += [
        Goal(f"{name}: relative difference", SAME, abs(a / b - 1), at_least=False)
        for name, (a, b) in pairs.items()
        if name in others and name != BY_QUANTILES
    ]
    return Measured(title(data), rows, goals, notes(data, sampled.size, every))


def own_metrics(data: Rows) -> dict[str, Callable[[], float]]:
    z, y, p, group = data.logits, data.labels, data.probabilities, data.group
    schema = Schema("ready", (Field("item"),), (Task("click"),), group="user")
    known = np.ones((len(z), 1), bool)
    scores = Scores(z[:, None], y[:, None], known, np.ones(len(z), np.float32), group)

    def record(name: str) -> Callable[[], float]:
        return lambda: METRICS[name].compute(MetricRows("binary", z, y, None, group))

    return {
        "AUC": lambda: auc(z, y),
        "GAUC": lambda: gauc(z, y, group).value,
        f"NDCG@{K}": record(f"ndcg_at_{K}"),
        "MRR": record("mrr"),
        f"recall@{K}": record(f"recall_at_{K}"),
        "log loss": lambda: log_loss(z, y),
        "normalised entropy": record("normalised_entropy"),
        "predicted/observed": record("predicted_observed"),
        "XAUC": lambda: METRICS["xauc"].compute(MetricRows("regression", z, data.seconds)),
        "ECE": lambda: expected_calibration_error(p, y, BINS),
        "all of a task": lambda: evaluate(scores, schema, BINS, False)["click@all"]["auc"],
    }


def other_metrics(data: Rows, part: Rows) -> dict[str, Callable[[], float]]:
    z, y, p = data.logits, data.labels, data.probabilities
    return {
        "AUC, scikit-learn": lambda: float(sklearn.metrics.roc_auc_score(y, z)),
        "log loss, scikit-learn": lambda: float(sklearn.metrics.log_loss(y, p)),
        "normalised entropy, scikit-learn": lambda: relative_loss(data),
        BY_QUANTILES: lambda: quantile_ece(p, y, BINS),
        "GAUC" + BY_LOOP: lambda: loop_gauc(part),
        f"NDCG@{K}" + BY_LOOP: lambda: loop_ndcg(part),
        "MRR" + BY_LOOP: lambda: loop_mrr(part),
        "GAUC" + BY_POLARS: lambda: polars_gauc(data),
        f"recall@{K}" + BY_POLARS: lambda: polars_recall(data),
        "predicted/observed" + BY_POLARS: lambda: polars_ratio(data),
        "XAUC, SciPy": lambda: kendall(data),
    }


def random_rows(rows: int, groups: int) -> Rows:
    """Scores of which POSITIVE are positive in the mean; group k has a share of rows as 1 / k."""
    rng = np.random.default_rng(0)
    shares = np.cumsum(1 / np.arange(1, groups + 1))
    at = np.searchsorted(shares, rng.random(rows) * shares[-1])
    names = rng.permutation(groups) * 7919 + 10**12  # as user ids are: large, in no order
    logits = (rng.normal(size=rows) - 3.37).astype(np.float32)
    probabilities = sigmoid(logits)
    labels = (rng.random(rows) < probabilities).astype(np.float32)
    seconds = 30 * np.exp(0.3 * logits + rng.normal(size=rows))
    return Rows(logits, probabilities, labels, names[at], seconds)


def sample_of_groups(data: Rows, count: int) -> np.ndarray:
    return np.random.default_rng(1).choice(np.unique(data.group), count, replace=False)


def peak(function: Callable[[], object]) -> int:
    """Most bytes that numpy held at once during the call, beside what was there before."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def title(data: Rows) -> str:
    sizes = np.unique(data.group, return_counts=True)[1]
    return (
        f"Metrics of {len(data.logits):,} ready scores, {100 * data.labels.mean():.3g} % positive, "
        f"{sizes.size:,} groups of 1 to {sizes.max():,} rows"
    )


def notes(data: Rows, sampled: int, share: float) -> list[str]:
    _, groups, skipped = gauc(data.logits, data.labels, data.group)
    return [
        f"GAUC is over {groups:,} groups; {skipped:,} have one class. 'All of a task' is those "
        "metrics but XAUC, the standard error of the AUC, average precision, counts and means; its "
        "value is the AUC.",
        f"The loops over groups saw {sampled:,} of them ({100 * share:.3g} %): their seconds are "
        "divided by that share, their values are compared with ours on the same rows.",
        "polars uses all cores, the others one; its memory is not numpy's, so not counted. "
        "scikit-learn's quantile bins are cut by value: its ECE is near ours, not the same.",
    ]
