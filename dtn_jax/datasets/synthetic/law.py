"""The law of the synthetic funnel: of which fields and pairs each stage's logit is made.

Each stage t has terms of its own (`STAGES`), over few fields f and few pairs (i, j), nearly
disjoint between tasks:

    g_t(x) = sum_f w_tf a_tf(x_f) + sum_(i,j) c_tij <u_tij(x_i), v_tij(x_j)>

Effects `a` have mean 0 and variance 1 over the field's ids, and so has each inner product;
factors `u` and `v` have mean 0, so a pair adds nothing that a function of one field could
explain. All terms are thus uncorrelated, and g_t has variance V_t = sum w^2 + sum c^2 exactly.
With `divergence` D and `sparsity` r the logits are

    l_click(x) = b_click + g_click(x)
    l_t(x) = b_t - r + sqrt(1 - D) sqrt(V_t / V_click) g_click(x) + sqrt(D) g_t(x),
             t = cart, order.

At D = 0 all logits are the same function of x up to scale and bias, at 1 each has its own terms
alone. Click and a later stage have no field of `weights` and no pair in common, so the terms stay
uncorrelated and l_t has variance V_t at every D. The nearer D is to 0, the more clicks end in an
order, since what is likely to be clicked is likely to be bought; `sparsity` can undo that.

A share s, `interactions`, of V_t in pairs is reached by w -> w sqrt((1 - s) V_t / sum w^2) and
c -> c sqrt(s V_t / sum c^2).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Stage:
    """One task's own terms: its bias, {field: w} and ((field, field, rank, c), ...)."""

    bias: float
    weights: Mapping[str, float]
    pairs: tuple[tuple[str, str, int, float], ...]


# Most of the variance is in fields of few or mid-size vocabularies, and about a third of it in
# pairs: a model of main effects alone falls clearly short. Nearly disjoint fields per task.
# fmt: off
STAGES = {
    "click": Stage(-1.6, {
        "f206": 0.90, "f121": 0.70, "f301": 0.60, "f205": 0.35, "f210": 0.30, "f101": 0.20,
        "f127_14": 0.15,
    }, (
        ("f206", "f121", 3, 0.75), ("f206", "f508", 2, 0.50), ("f109_14", "f301", 2, 0.50),
    )),
    "cart": Stage(-1.3, {
        "f508": 0.95, "f122": 0.80, "f129": 0.60, "f853": 0.30, "f216": 0.25, "f702": 0.20,
        "f509": 0.15, "f110_14": 0.15,
    }, (
        ("f508", "f122", 3, 0.80), ("f109_14", "f129", 2, 0.55), ("f121", "f125", 2, 0.45),
    )),
    "order": Stage(-1.3, {
        "f109_14": 0.90, "f125": 0.80, "f124": 0.60, "f126": 0.50, "f127": 0.40, "f128": 0.30,
        "f150_14": 0.20, "f207": 0.15,
    }, (
        ("f109_14", "f125", 2, 0.80), ("f122", "f126", 2, 0.60), ("f121", "f124", 1, 0.45),
    )),
}
# fmt: on
TASKS = tuple(STAGES)
FIRST = TASKS[0]  # whose terms the later stages share


@dataclasses.dataclass(frozen=True)
class Term:
    """One term of a logit: w a(x_f), or c times the inner product of u(x_i) and v(x_j).

    Attributes:
      task: whose effects these are.
      fields: f, or i and j.
      rank: of u and v; 1 for a field.
      weight: w or c, the term's standard deviation.
    """

    task: str
    fields: tuple[str, ...]
    rank: int
    weight: float


def own_terms(task: str, interactions: float | str = "") -> list[Term]:
    """g_t, fields first. A share `interactions` of its variance is in pairs; '': as declared."""
    stage = STAGES[task]
    fields = [Term(task, (field,), 1, weight) for field, weight in stage.weights.items()]
    pairs = [Term(task, (left, right), rank, c) for left, right, rank, c in stage.pairs]
    if interactions == "":
        return fields + pairs
    total, share = variance(fields + pairs), float(interactions)
    return [
        *scaled(fields, math.sqrt((1 - share) * total / variance(fields))),
        *scaled(pairs, math.sqrt(share * total / variance(pairs))),
    ]


def logit_terms(divergence: float = 1.0, interactions: float | str = "") -> dict[str, list[Term]]:
    """{task: the terms of its logit}, all of weights above 0; see the module's equations."""
    own = {task: own_terms(task, interactions) for task in TASKS}
    found = {}
    for task, terms in own.items():
        shared = math.sqrt((1 - divergence) * variance(terms) / variance(own[FIRST]))
        both = scaled(own[FIRST], shared) + scaled(terms, math.sqrt(divergence))
        found[task] = terms if task == FIRST else both
    return {task: [t for t in terms if t.weight > 0] for task, terms in found.items()}


def biases(sparsity: float = 0.0) -> dict[str, float]:
    """{task: the bias of its logit}."""
    return {t: stage.bias - (0 if t == FIRST else sparsity) for t, stage in STAGES.items()}


def variance(terms: list[Term]) -> float:
    """Of the sum of the terms."""
    return sum(term.weight**2 for term in terms)


def scaled(terms: list[Term], factor: float) -> list[Term]:
    """The terms with their weights times `factor`."""
    return [dataclasses.replace(term, weight=term.weight * factor) for term in terms]
