"""What the seeds alone say of a difference, beside the bootstrap over seeds and test examples."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import scipy.stats

from dtn_jax.papertables.protocol import OURS
from dtn_jax.shapes import Float


def of_seeds(ours: Float[np.ndarray, " S"], theirs: Float[np.ndarray, " Q"]) -> dict:
    """How far single runs scatter, and Welch's t-test of the difference of two means.

    Args:
      ours, theirs: a value a seed, two or more each.

    Returns:
      two_sd: twice the standard deviation of single runs, pooled over the two models with equal
        weight: 2 sqrt((s² + q²) / 2), of the sample variances s² and q².
      t, freedom, p_t: Welch's statistic, its degrees of freedom and its two-tailed p (B. L. Welch,
        The generalization of Student's problem when several different population variances are
        involved, 1947); None where neither varies.
    """
    variances = [values.var(ddof=1) if np.ptp(values) else 0.0 for values in (ours, theirs)]
    found = {"two_sd": 2 * math.sqrt(sum(variances) / 2), "t": None, "freedom": None, "p_t": None}
    if not any(variances):
        return found
    test = scipy.stats.ttest_ind(ours, theirs, equal_var=False)
    return found | {
        "t": float(test.statistic),
        "freedom": float(test.df),
        "p_t": float(test.pvalue),
    }


def within(comparison: Mapping) -> bool:
    """Whether a difference is smaller than twice the seeds' standard deviation; tables that were
    made before do not say."""
    return abs(comparison["difference"]) < comparison.get("two_sd", 0.0)


def strongest(found: Mapping) -> dict[str, tuple[str, dict]]:
    """{task@space: (rival, ours less the rival)} of the strongest rival on each tested task.

    It is the row of another architecture than ours that has the highest mean AUC on test, of those
    that were compared with ours. The comparison is the rival's own, with its sign turned.
    """
    name = found.get("ours", OURS)
    ours = next((r for r in found["rows"] if r["name"] == name), None)
    if ours is None:
        return {}
    rivals = [
        r
        for r in found["rows"]
        if r["against"] == name and r.get("architecture") != ours.get("architecture")
    ]
    best: dict[str, tuple[str, dict]] = {}
    for key in ours["metrics"]:
        compared = [(r, r["comparison"].get(key)) for r in rivals]
        compared = [(r, c) for r, c in compared if isinstance(c, Mapping)]
        if compared:
            rival, comparison = max(compared, key=lambda one: one[1]["difference"])
            best[key] = rival["name"], turned(comparison)
    return best


def turned(comparison: Mapping) -> dict:
    """The comparison of B with A, of one of A with B."""
    t = comparison["t"]
    return {
        **comparison,
        "difference": -comparison["difference"],
        "low": -comparison["high"],
        "high": -comparison["low"],
        "t": None if t is None else -t,
    }
