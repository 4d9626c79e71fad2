"""Synthetic impressions with a known answer: the funnel click -> cart -> order.

The fields are Ali-CCP's, by name and by relative size. They are independent of each other and
their ids follow a bounded Zipf law (`draw_ids`). Each stage has its own logit over few fields and
few pairs (law.py has the equations). Then

    P(click | x) = s(l_click),   P(cart | click, x) = s(l_cart),   P(order | cart, x) = s(l_order)

with s the sigmoid; hence P(cart | x) = s(l_click) s(l_cart), and so on.

Effects are known functions of (seed, task, field, id). Only a field's `HEAD_IDS` most frequent
ids have an effect: what can be learned does not drown in rare ids when `ids` grows.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dtn_jax.datasets.synthetic import law
from dtn_jax.datasets.synthetic.law import TASKS
from dtn_jax.errors import UserError

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
MIN_ROWS, MAX_ROWS = 1_000, 100_000_000

BLOCK_ROWS = 8_192  # rows drawn from one counter; `rows` is cheapest on multiples of it
HEAD_IDS = 128  # ids of a field that have an effect
# {an option of the law: its most}; each is at least 0. By 5 log-odds one impression in 36,000
# ends in an order.
DIALS = {"divergence": 1, "interactions": 1, "sparsity": 5}
ZIPF = 1.3  # the exponent; not 1, which `draw_ids` would have to treat apart


@dataclasses.dataclass(frozen=True)
class FunnelSpec:
    """Which data to generate.

    Attributes:
      rows: impressions. Row i is the same whatever `rows` is.
      ids: total ids over all fields, at most; unknown rows not counted.
      seed: of the effects and of the impressions.
      divergence: 0: all stages depend on the same fields and pairs alike; 1: each on its own.
      interactions: share of each logit's variance in pairs; '': its own, about a third.
      sparsity: log-odds taken off the biases of cart and order: the later tasks are rarer.
    """

    rows: int = 1_000_000
    ids: int = MIN_IDS
    seed: int = 0
    divergence: float = 1.0
    interactions: float | str = ""
    sparsity: float = 0.0

    def __post_init__(self):
        limits = (MIN_ROWS, MAX_ROWS), (MIN_IDS, MAX_IDS), (0, 2**63 - 1)
        for name, (low, high) in zip(("rows", "ids", "seed"), limits, strict=True):
            got = getattr(self, name)
            if not isinstance(got, int) or isinstance(got, bool) or not low <= got <= high:
                raise UserError(f"{name} is {got!r}, expected an integer from {low:,} to {high:,}")
        for name, high in DIALS.items():
            got = getattr(self, name)
            if name == "interactions" and got == "":
                continue
            number = isinstance(got, int | float) and not isinstance(got, bool)
            if not (number and 0 <= got <= high):
                raise UserError(f"{name} is {got!r}, expected a number from 0 to {high:g}")
            object.__setattr__(self, name, float(got))  # 0 and 0.0 have one folder

    def facts(self) -> dict[str, Any]:
        """{attribute: value}; a dial at its default is left out, as in sets without dials."""
        default = {f.name: f.default for f in dataclasses.fields(self) if f.name in DIALS}
        return {n: v for n, v in dataclasses.asdict(self).items() if v != default.get(n, ...)}

    @property
    def stages(self) -> dict[str, list[law.Term]]:
        """{task: the terms of its logit}."""
        return law.logit_terms(self.divergence, self.interactions)

    @property
    def biases(self) -> dict[str, float]:
        """{task: the bias of its logit}."""
        return law.biases(self.sparsity)

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
            found = [_effects(spec, field, term.rank, *stream) for field in term.fields]
            tables = [table for table, _ in found]
            scale = math.sqrt(math.prod(cov for _, cov in found).sum())  # a term's deviation
            tables[0] = term.weight * tables[0] / scale
            places = [FIELDS.index(field) for field in term.fields]
            terms[task].append(tuple(zip(places, tables, strict=True)))
    return terms


def _stage_probabilities(spec: FunnelSpec, ids: np.ndarray) -> np.ndarray:
    """P(click | x), P(cart | click, x), P(order | cart, x): float64 [T, B] of ids [F, B]."""
    out = np.empty((len(TASKS), ids.shape[1]))
    columns = [np.minimum(column, HEAD_IDS + 1, dtype=np.intp) for column in ids]
    for logit, task in zip(out, TASKS, strict=True):
        logit[:] = spec.biases[task]
        for term in _terms(spec)[task]:
            # By rank and in 1-D: several times faster than gathering [B, rank].
            for tables in zip(*(table for _, table in term), strict=True):
                value = [t[columns[f]] for t, (f, _) in zip(tables, term, strict=True)]
                logit += value[0] if len(value) == 1 else value[0] * value[1]
    return 1 / (1 + np.exp(-out))


def rows(spec: FunnelSpec, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [start, start + count): ids int32 [B, F] (FIELDS) and labels uint8 [B, T] (TASKS).

    Blocks of BLOCK_ROWS rows are drawn independently, so any cut of the range gives the same.
    """
    if start < 0 or count < 0 or start + count > spec.rows:
        raise UserError(f"rows [{start}, {start + count}) are not within [0, {spec.rows})")
    ids = np.empty((count, len(FIELDS)), np.int32)
    labels = np.empty((count, len(TASKS)), np.uint8)
    stop = start + count
    for block in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS) if count else 0):
        first = block * BLOCK_ROWS
        rng = generator(spec.seed, "rows", block=block)
        block_ids = draw_ids(rng, list(spec.sizes.values()), BLOCK_ROWS)
        happens = rng.random((len(TASKS), BLOCK_ROWS)) < _stage_probabilities(spec, block_ids)
        nested = np.logical_and.accumulate(happens, axis=0)
        taken = slice(max(start - first, 0), min(stop - first, BLOCK_ROWS))
        placed = slice(first + taken.start - start, first + taken.stop - start)
        ids[placed] = block_ids[:, taken].T
        labels[placed] = nested[:, taken].T
    return ids, labels


def probabilities(spec: FunnelSpec, ids: np.ndarray) -> np.ndarray:
    """P(click | x), P(cart | click, x), P(order | cart, x): float64 [B, T] of any ids [B, F].

    Id 0 (unknown) has no effect.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.shape[1] != len(FIELDS):
        raise UserError(f"ids have shape {ids.shape}, expected [B, {len(FIELDS)}]")
    if ids.size and (ids.min() < 0 or (ids.max(0) > list(spec.sizes.values())).any()):
        raise UserError("an id is outside 0..V of its field; the sizes are " + str(spec.sizes))
    return _stage_probabilities(spec, ids.T).T
