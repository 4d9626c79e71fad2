"""The metrics of the suite `evaluation` by others: scikit-learn, polars, SciPy, and plain loops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import polars as pl
import sklearn.calibration
import sklearn.metrics
from scipy.stats import kendalltau

K = 10  # the last place that counts


@dataclasses.dataclass(frozen=True)
class Rows:
    """Ready scores of one task.

    Attributes:
      logits: float32 `[B]`.
      probabilities: float64 `[B]`, of the logits.
      labels: float32 `[B]`, drawn from the probabilities.
      group: int64 `[B]`.
      seconds: float64 `[B]`, a watch time that depends on the logit; no two are equal.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    group: np.ndarray
    seconds: np.ndarray

    def of(self, mask: np.ndarray) -> Rows:
        return Rows(*(getattr(self, field.name)[mask] for field in dataclasses.fields(self)))


def groups_of(data: Rows) -> Iterator[np.ndarray]:
    """The rows of each group, one group after another."""
    order = np.argsort(data.group)
    return iter(np.split(order, np.flatnonzero(np.diff(data.group[order])) + 1))


def loop_gauc(data: Rows) -> float:
    """The mean of scikit-learn's AUC over groups."""
    total = share = 0.0
    for rows in groups_of(data):
        labels = data.labels[rows]
        if 0 < labels.sum() < len(rows):
            total += len(rows) * sklearn.metrics.roc_auc_score(labels, data.logits[rows])
            share += len(rows)
    return float(total / share)


def loop_ndcg(data: Rows) -> float:
    """The mean of scikit-learn's NDCG over groups with a positive; it wants two rows."""
    found = []
    for rows in groups_of(data):
        labels, logits = data.labels[rows], data.logits[rows]
        if labels.any():
            more = len(rows) > 1
            found.append(sklearn.metrics.ndcg_score([labels], [logits], k=K) if more else 1.0)
    return float(np.mean(found))


def loop_mrr(data: Rows) -> float:
    """The mean over groups with a positive; equal scores in the order of the rows."""
    found = []
    for rows in groups_of(data):
        ranked = data.labels[rows[np.argsort(-data.logits[rows])]]
        if ranked.any():
            found.append(1 / (1 + ranked.argmax()))
    return float(np.mean(found))


def polars_gauc(data: Rows) -> float:
    """By the ranks of the positives within their group."""
    positive = pl.col("label") == 1
    ranked = pl.DataFrame({"group": data.group, "score": data.logits, "label": data.labels})
    ranked = ranked.with_columns(rank=pl.col("score").rank("average").over("group"))
    sums = ranked.group_by("group").agg(
        ranks=pl.col("rank").filter(positive).sum(), p=positive.sum(), rows=pl.len()
    )
    sums = sums.cast({"p": pl.Float64, "rows": pl.Float64}).filter(
        (pl.col("p") > 0) & (pl.col("p") < pl.col("rows"))
    )
    p, n = pl.col("p"), pl.col("rows") - pl.col("p")
    area = (pl.col("ranks") - p * (p + 1) / 2) / (p * n)
    return sums.select((area * pl.col("rows")).sum() / pl.col("rows").sum()).item()


def polars_recall(data: Rows) -> float:
    """By the ranks within groups: of rows of equal scores the share that has room is found."""
    table = pl.DataFrame({"group": data.group, "score": data.logits, "label": data.labels})
    low, high = (
        pl.col("score").rank(end, descending=True).over("group").cast(pl.Float64)
        for end in ("min", "max")
    )
    table = table.with_columns(room=((K + 1 - low) / (high - low + 1)).clip(0, 1))
    label = pl.col("label").cast(pl.Float64)
    found = table.group_by("group").agg(first=(label * pl.col("room")).sum(), all=label.sum())
    return found.filter(pl.col("all") > 0).select((pl.col("first") / pl.col("all")).mean()).item()


def polars_ratio(data: Rows) -> float:
    """The sum of predictions over that of labels."""
    table = pl.DataFrame({"p": data.probabilities, "y": data.labels})
    return table.select(pl.col("p").sum() / pl.col("y").cast(pl.Float64).sum()).item()


def relative_loss(data: Rows) -> float:
    """scikit-learn's log loss over that of the base rate."""
    constant = np.full(len(data.labels), data.labels.mean(dtype=np.float64))
    losses = (sklearn.metrics.log_loss(data.labels, p) for p in (data.probabilities, constant))
    return float(next(losses) / next(losses))


def kendall(data: Rows) -> float:
    """The share of pairs in order, from SciPy's tau-b, which leaves equal scores out.

    Of n pairs, t of them of equal scores and none of equal labels, it is (right - wrong) over
    sqrt(n (n - t)).
    """
    _, same = np.unique(data.logits, return_counts=True)
    tied = (same * (same - 1.0)).sum() / (len(data.logits) * (len(data.logits) - 1.0))
    tau = kendalltau(data.logits, data.seconds).statistic
    return float((1 + tau * np.sqrt(1 - tied)) / 2)


def quantile_ece(p: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Over the quantile bins of scikit-learn, which tells no sizes: they are taken as equal."""
    rate, mean = sklearn.calibration.calibration_curve(labels, p, n_bins=bins, strategy="quantile")
    return float(np.abs(rate - mean).mean())
