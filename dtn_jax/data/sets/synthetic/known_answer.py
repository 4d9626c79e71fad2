"""What can be known of the synthetic data beforehand: best scores, their AUCs, importance."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data.sets.synthetic.funnel import (
    FIELDS,
    TASKS,
    FunnelSpec,
    draw_ids,
    generator,
    probabilities,
)
from dtn_jax.metrics.auc import auc
from dtn_jax.schema import ALL


def bayes_scores(spec: FunnelSpec, ids: np.ndarray) -> dict[str, np.ndarray]:
    """{task@space: P(task | space, x), float64 [B]} of ids [B, F]: the best possible scores.

    For every task the space of all impressions and those of the stages before it.
    """
    stages = probabilities(spec, ids).T
    return {
        f"{task}@{space}": stages[first : last + 1].prod(0)
        for last, task in enumerate(TASKS)
        for first, space in enumerate((ALL, *TASKS[:last]))
    }


def expected_auc(score: np.ndarray, prob: np.ndarray, space: np.ndarray | None = None) -> float:
    """The AUC of `score` [B] when only the probabilities of the labels are known.

    A row is in the space with probability `space` [B] (default: 1), then positive with
    probability `prob` [B]. So each counts both as a positive, pos = space prob, and as a
    negative, neg = space (1 - prob):

        sum_ij pos_i neg_j ([score_i > score_j] + [score_i = score_j] / 2) / (sum pos sum neg)

    Unlike the AUC of drawn labels, this has no noise from the draw.
    """
    space = np.ones(len(score)) if space is None else space
    weights = np.concatenate([space * prob, space * (1 - prob)])
    return auc(np.tile(score, 2), np.repeat([True, False], len(score)), weights)


def importance(spec: FunnelSpec) -> dict[str, np.ndarray]:
    """{task: [F]}: each field's total-effect Sobol index of the stage's logit, exactly.

    That is the share of the logit's variance in terms that the field takes part in,
    (w_f^2 + sum of c^2 over its pairs) / (sum of all w^2 and c^2). A pair counts for both of its
    fields, so the shares sum to more than 1. Effects are standardised: the shares are the same
    for every size and seed.
    """
    result = {}
    for task, terms in spec.stages.items():
        share, total = np.zeros(len(FIELDS)), 0.0
        for term in terms:
            share[[FIELDS.index(f) for f in term.fields]] += term.weight**2
            total += term.weight**2
        result[task] = share / total
    return result


def true_divergence(spec: FunnelSpec) -> dict[str, dict[str, float]]:
    """{task: {task: 1 - Spearman's correlation of their stages' importances}}, exactly.

    Fields of equal importance share their mean rank: all fields without effect do. Ranks jump
    where a field gains or loses its last effect: just above D = 0, and at D = 1.
    """
    shares = np.stack(list(importance(spec).values()))
    rounded = shares.round(12)  # equal shares may differ in their last digits
    ranks = np.stack([pl.Series(share).rank().to_numpy() for share in rounded])
    between = 1 - np.corrcoef(ranks)
    return {
        one: {other: float(between[i, j]) for j, other in enumerate(TASKS) if j != i}
        for i, one in enumerate(TASKS)
    }


def truth(spec: FunnelSpec, sample: int = 1_000_000) -> dict[str, Any]:
    """The known answer, for JSON; Bayes-optimal AUCs and rates are over `sample` fresh rows."""
    rng = generator(spec.seed, "truth")
    scores = bayes_scores(spec, draw_ids(rng, list(spec.sizes.values()), sample).T)
    in_space = {ALL: np.ones(sample), **{t: scores[f"{t}@{ALL}"] for t in TASKS}}
    rates, aucs, shares = {}, {}, importance(spec)
    for name, score in scores.items():
        weight = in_space[name.split("@")[1]]
        rates[name] = float(np.average(score, weights=weight))
        aucs[name] = expected_auc(score, score, weight)
    return {
        "spec": spec.facts(),
        "pairs": {  # [field, field, rank, weight]
            t: [[*term.fields, term.rank, term.weight] for term in terms if len(term.fields) == 2]
            for t, terms in spec.stages.items()
        },
        "importance": {t: dict(zip(FIELDS, s.tolist(), strict=True)) for t, s in shares.items()},
        "true_divergence": true_divergence(spec),
        "rates": rates,
        "bayes_auc": aucs,
    }
