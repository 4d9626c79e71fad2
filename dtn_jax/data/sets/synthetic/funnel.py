"""Synthetic impressions with a known answer: the funnel click -> cart -> order.

The fields are Ali-CCP's, by name and by relative size. They are independent of each other and
their ids follow a bounded Zipf law (`draw_ids`). Each stage has its own logit over few fields and
few pairs. Then, with s the sigmoid,

    P(click | x) = s(l_click),   P(cart | click, x) = s(l_cart),   P(order | cart, x) = s(l_order)

hence P(cart | x) = s(l_click) s(l_cart), and so on.

Effects are known functions of (seed, task, field, id). Only a field's `HEAD_IDS` most frequent
ids have an effect: what can be learned does not drown in rare ids when `ids` grows.

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
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtn_jax.options import Option, option

# {field: ids in Ali-CCP}. The published vocabularies lack 205's file, and 110_14's is a copy of
# 109_14's. For these two: 0.7 of the span that the neighbours' ids leave free, 0.7 being the
# share of their span that the other large fields (101, 207, 509) use.
# fmt: off
ALI_CCP_IDS = {
    "f101": 276_022, "f109_14": 12_126, "f110_14": 2_087_000, "f127_14": 387_969,
    "f150_14": 99_203, "f121": 97, "f122": 13, "f124": 2, "f125": 7, "f126": 3, "f127": 3,
    "f128": 2, "f129": 4, "f205": 3_044_000, "f206": 8_292, "f207": 516_905, "f210": 98_758,
    "f216": 181_697, "f508": 7_403, "f509": 319_982, "f702": 123_442, "f853": 84_476, "f301": 3,
}
# fmt: on
FIELDS = tuple(ALI_CCP_IDS)
MIN_IDS, MAX_IDS = 20_000, sum(ALI_CCP_IDS.values())
MAX_ROWS = 100_000_000

BLOCK_ROWS = 8_192  # rows drawn from one counter; `rows` is cheapest on multiples of it
HEAD_IDS = 128  # ids of a field that have an effect
ZIPF = 1.3  # the exponent; not 1, which `draw_ids` would have to treat apart
DIALS = ("divergence", "interactions", "sparsity")
SHARE = Option(0.5, "of a logit's variance", least=0, most=1)


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


@dataclasses.dataclass(frozen=True)
class FunnelSpec:
    """Which data to generate. Row i is the same whatever `rows` is."""

    rows: int = option(
        1_000_000, "impressions in all splits, up to 10^8", least=1_000, most=MAX_ROWS
    )
    ids: int = option(MIN_IDS, "total vocabulary of all fields", least=MIN_IDS, most=MAX_IDS)
    seed: int = option(0, "of the law and of the rows", least=0, most=2**63 - 1)
    divergence: float = option(
        1.0,
        "0 where all tasks depend on the same fields and pairs alike, to 1, each on its own",
        least=0,
        most=1,
    )
    interactions: float | str = option(
        "", "share of each logit's variance in pairs, from 0 to 1; '': its own, about a third"
    )
    sparsity: float = option(  # by 5 one impression in 36,000 ends in an order
        0.0, "log-odds taken off the biases of cart and order: how rare they are", least=0, most=5
    )

    def __post_init__(self):
        for name in DIALS:
            value = getattr(self, name)
            if name == "interactions" and value != "":
                what = "data.options interactions"
                value = SHARE.cast(what, str(value))
                SHARE.check(what, value)
            number = value if value == "" else float(value)  # 0 and 0.0 have one folder
            object.__setattr__(self, name, number)

    def facts(self) -> dict[str, Any]:
        """{attribute: value}; a dial at its default is left out, as in sets without dials."""
        default = {f.name: f.default for f in dataclasses.fields(self) if f.name in DIALS}
        return {n: v for n, v in dataclasses.asdict(self).items() if v != default.get(n, ...)}

    @property
    def stages(self) -> dict[str, list[Term]]:
        """{task: the terms of its logit}, all of weights above 0; see the module's equations."""
        declared = {task: _own_terms(task, self.interactions) for task in TASKS}
        click = declared[FIRST]
        stages = {FIRST: click}
        for task, terms in declared.items():
            shared = math.sqrt((1 - self.divergence) * _variance(terms) / _variance(click))
            both = _scaled(click, shared) + _scaled(terms, math.sqrt(self.divergence))
            stages.setdefault(task, both)
        return {task: [t for t in terms if t.weight > 0] for task, terms in stages.items()}

    @property
    def biases(self) -> dict[str, float]:
        """{task: the bias of its logit}."""
        return {t: s.bias - (0 if t == FIRST else self.sparsity) for t, s in STAGES.items()}

    @functools.cached_property
    def sizes(self) -> dict[str, int]:
        """{field: V_f}, its ids being 1..V_f: min(Ali-CCP's size, k sqrt(Ali-CCP's size)).

        The square root keeps mid-size fields mid-size when the total is small; k is the largest
        for which the sizes sum to at most `ids`.
        """

        def at(k: float) -> dict[str, int]:
            return {field: min(n, int(k * math.sqrt(n))) for field, n in ALI_CCP_IDS.items()}

        low, high = 0.0, 2.0 * math.sqrt(max(ALI_CCP_IDS.values()))
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if sum(at(middle).values()) <= self.ids else (low, middle)
        return at(low)


def generator(seed: int, *stream: str, block: int = 0) -> np.random.Generator:
    """A generator that is a pure function of its arguments."""
    name = hashlib.blake2b("/".join(stream).encode(), digest_size=8).digest()
    key = np.array([seed, int.from_bytes(name, "little")], np.uint64)
    # Draws advance the low words of Philox's counter; its highest word is the block's.
    return np.random.Generator(np.random.Philox(counter=[0, 0, 0, block], key=key))


def draw_ids(rng: np.random.Generator, sizes: Sequence[int], count: int) -> np.ndarray:
    """Ids, int32 [F, count]: floor of a Pareto variable bounded to [1, V + 1).

    By inverse CDF, with a = ZIPF: x = (1 - u (1 - (V + 1)^(1 - a)))^(1 / (1 - a)), u uniform.
    Hence P(id = k) is proportional to k^(1 - a) - (k + 1)^(1 - a), for large k to k^-a.
    """
    uniform = rng.random((len(sizes), count))
    size = np.asarray(sizes, np.float64)[:, None]
    uniform *= (size + 1) ** (1 - ZIPF) - 1
    uniform += 1
    np.power(uniform, 1 / (1 - ZIPF), out=uniform)
    return np.minimum(uniform, size, out=uniform).astype(np.int32)  # rounding may reach V + 1


def id_probabilities(size: int, count: int) -> np.ndarray:
    """P(id = 1..count), float64 [count], of a field of `size` ids."""
    edges = np.arange(1, count + 2, dtype=np.float64) ** (1 - ZIPF)
    return (edges[:-1] - edges[1:]) / (1 - (size + 1.0) ** (1 - ZIPF))


def _own_terms(task: str, interactions: float | str) -> list[Term]:
    """g_t, fields first. A share `interactions` of its variance is in pairs; '': as declared."""
    stage = STAGES[task]
    fields = [Term(task, (field,), 1, weight) for field, weight in stage.weights.items()]
    pairs = [Term(task, (left, right), rank, c) for left, right, rank, c in stage.pairs]
    if interactions == "":
        return fields + pairs
    total, share = _variance(fields + pairs), float(interactions)
    return [
        *_scaled(fields, math.sqrt((1 - share) * total / _variance(fields))),
        *_scaled(pairs, math.sqrt(share * total / _variance(pairs))),
    ]


def _variance(terms: list[Term]) -> float:
    """Of the sum of the terms."""
    return sum(term.weight**2 for term in terms)


def _scaled(terms: list[Term], factor: float) -> list[Term]:
    """The terms with their weights times `factor`."""
    return [dataclasses.replace(term, weight=term.weight * factor) for term in terms]


def _effects(spec: FunnelSpec, field: str, rank: int, *stream: str) -> tuple[np.ndarray, ...]:
    """Effects float64 [rank, min(V, HEAD_IDS + 1) + 1] of mean 0, and their covariance.

    Column 0 (unknown) and, where V > HEAD_IDS, the last one (all rarer ids) are 0. An id's raw
    effect is normal and does not depend on V.
    """
    size = spec.sizes[field]
    head = min(size, HEAD_IDS)
    prob = id_probabilities(size, head)
    raw = generator(spec.seed, *stream, field).standard_normal((head, rank)).T
    raw = raw - (raw @ prob / prob.sum())[:, None]
    table = np.zeros((rank, min(size, HEAD_IDS + 1) + 1))
    table[:, 1 : head + 1] = raw
    return table, (raw * prob) @ raw.T


@functools.lru_cache(maxsize=4)
def _terms(spec: FunnelSpec) -> dict[str, list[tuple[tuple[int, np.ndarray], ...]]]:
    """{task: terms}; a term is one or two (field index, table [rank, ids]), scaled by w or c."""
    terms = {}
    for task, stage in spec.stages.items():
        terms[task] = []
        for term in stage:
            stream = [term.task, *(term.fields if len(term.fields) == 2 else ())]
            effects = [_effects(spec, field, term.rank, *stream) for field in term.fields]
            tables = [table for table, _ in effects]
            scale = math.sqrt(math.prod(cov for _, cov in effects).sum())  # a term's deviation
            tables[0] = term.weight * tables[0] / scale
            places = [FIELDS.index(field) for field in term.fields]
            terms[task].append(tuple(zip(places, tables, strict=True)))
    return terms


def probabilities(spec: FunnelSpec, ids: np.ndarray) -> np.ndarray:
    """P(click | x), P(cart | click, x), P(order | cart, x): float64 [B, T] of any ids [B, F].

    Id 0 (unknown) has no effect.
    """
    out = np.empty((len(TASKS), len(ids)))
    columns = [np.minimum(column, HEAD_IDS + 1, dtype=np.intp) for column in ids.T]
    for logit, task in zip(out, TASKS, strict=True):
        logit[:] = spec.biases[task]
        for term in _terms(spec)[task]:
            # By rank and in 1-D: several times faster than gathering [B, rank].
            for tables in zip(*(table for _, table in term), strict=True):
                value = [t[columns[f]] for t, (f, _) in zip(tables, term, strict=True)]
                logit += value[0] if len(value) == 1 else value[0] * value[1]
    return 1 / (1 + np.exp(-out.T))


def rows(spec: FunnelSpec, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [start, start + count): ids int32 [B, F] (FIELDS) and labels uint8 [B, T] (TASKS).

    Blocks of BLOCK_ROWS rows are drawn independently, so any cut of the range gives the same.
    """
    ids = np.empty((count, len(FIELDS)), np.int32)
    labels = np.empty((count, len(TASKS)), np.uint8)
    stop = start + count
    for block in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS) if count else 0):
        first = block * BLOCK_ROWS
        rng = generator(spec.seed, "rows", block=block)
        block_ids = draw_ids(rng, list(spec.sizes.values()), BLOCK_ROWS).T
        happens = probabilities(spec, block_ids) > rng.random((len(TASKS), BLOCK_ROWS)).T
        taken = slice(max(start - first, 0), min(stop - first, BLOCK_ROWS))
        placed = slice(first + taken.start - start, first + taken.stop - start)
        ids[placed] = block_ids[taken]
        labels[placed] = np.logical_and.accumulate(happens, axis=1)[taken]
    return ids, labels
