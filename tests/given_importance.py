"""An importance whose numbers are given."""

import numpy as np

from dtn_jax.analysis.importance import Importance


def given(means, error=1e-9):
    """An importance with these means `[F, K]` and independent errors."""
    means = np.asarray(means, float)
    fields = tuple(f"f{i}" for i in range(len(means)))
    keys = tuple(f"t{k}@all" for k in range(means.shape[1]))
    covariance = error**2 * np.eye(means.size)
    zeros, titles = np.zeros(len(keys)), ("AUC",) * len(keys)
    return Importance(fields, keys, titles, zeros, means[None], covariance)
