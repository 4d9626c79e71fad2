import numpy as np

from dtn_jax.metrics import Metric

SHARE = 0.1


def captured(rows):
    """The share of the positives that stand in the tenth of the rows with the highest scores.

    Rows of equal scores share what is left of that tenth. None where there is no positive.
    """
    if not rows.labels.any():
        return None
    weights = np.ones(len(rows.scores)) if rows.weights is None else rows.weights
    _, place = np.unique(-rows.scores, return_inverse=True)  # 0: the highest score
    weight = np.bincount(place, weights)
    positive = np.bincount(place, weights * rows.labels)
    above = np.cumsum(weight) - weight
    inside = np.clip(SHARE * weight.sum() - above, 0, weight) / weight
    return float(inside @ positive / positive.sum())


METRICS = {
    "captured": Metric(
        name="captured",
        title="positives in the top tenth",
        compute=captured,
        higher_is_better=True,
        selectable=True,  # train.select=click:captured
        column="top\ntenth",
        short="top 10%",
        bounded=True,
    )
}
