"""Ranking scores of two sides against each task: `differences`, for those who rank by all tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtn_jax.comparison.differences import (
    Difference,
    corrected,
    difference_of,
    few_groups,
    few_rows,
)
from dtn_jax.comparison.scored_rows import ScoredRows
from dtn_jax.errors import UserError
from dtn_jax.metrics.gains import Gains
from dtn_jax.metrics.influence import Units
from dtn_jax.metrics.paired import signs
from dtn_jax.metrics.significance import DRAWS


def differences(
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
    group = next((run.group for run in every if run.group is not None), None)
    weight = next((run.weight for run in every if run.weighted), None)
    units = Units(len(a[0].key), group)
    drawn, found = signs(units.count, draws), []
    for name, label in a[0].labels.items():
        at = np.flatnonzero(~np.isnan(label) & (weight is None or weight > 0))
        if (label[at] < 0).any() or any(name not in run.labels for run in every):
            continue
        for run in every:
            if bad := np.count_nonzero(np.isnan(run.rank[at])):
                raise UserError(f"{run.name}: {bad:,} of {len(at):,} rows have no ranking score")
        extra = (None if one is None else one[at] for one in (group, weight))
        gains = Gains(label[at].astype(np.float64), at, units, *extra)
        sides = [[gains.influences(run.rank[at]) for run in side] for side in (a, b)]
        positives = int((label[at] > 0).sum())
        few = few_rows(len(at), positives, binary=True)
        for metric in gains.metrics:
            one, two = ([run[metric] for run in side] for side in sides)
            why = few or few_groups(one[0], group is not None)
            counts = len(at), positives, why
            found.append(difference_of(f"rank: {name}", metric, one, two, drawn, *counts))
    return corrected(found)
