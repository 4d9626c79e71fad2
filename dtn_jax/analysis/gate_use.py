"""How each task uses each expert: gate weights, whose they are, and when experts have collapsed.

A gate's weights are not all that scales an expert: DTN's TSN and AdaTT's native weights come after
the gate. `effective` weights have these in them (see interface.Outputs). How large an expert's
outputs are is in neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from flax import linen as nn

from dtn_jax.analysis.sample import Forward
from dtn_jax.interface import SHARED, Batch
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Bool, Float
from dtn_jax.tables.plan import TablePlan

OWN, OTHER = "own", "other"
UNUSED = 0.1  # of an equal share: an expert with less in every gate that could use it is unused
ALONE = 0.95  # a gate that gives one of several experts this much uses that one alone
EVEN = 0.98  # evenness over which a gate hardly chooses
GATES, EFFECTIVE = "gates", "effective"  # of the intermediates

Gates = dict[str, dict[str, Float[Array, " B"]]]  # {gate: {source: weight}}, see interface.Outputs
Use = Mapping[str, Mapping[str, float]]  # {gate: {source: mean weight}}


def make_gates(
    model: nn.Module, plan: TablePlan, mesh: jax.sharding.Mesh | None = None
) -> Callable[[State, Batch], dict[str, Gates]]:
    """Returns `(state, batch) -> {gates | effective: {gate: {source: weights [B]}}}`.

    Both are empty where there are no gates; `effective` has those gates alone in which it differs.
    """
    forward = Forward(model, plan, mesh)

    def gates(state: State, batch: Batch) -> dict[str, Gates]:
        outputs = forward.apply(state, forward.inputs(state, batch))
        return {which: outputs.intermediates.get(which, {}) for which in (GATES, EFFECTIVE)}

    return gates


def in_order(gates: Mapping[str, Mapping], tasks: Sequence[str]) -> dict[str, dict]:
    """The gates by reader, in the tasks' order and `shared` last, the own experts' gate first.

    What comes from a compiled program is in the order of the alphabet.
    """

    def place(gate: str):
        reader, _, which = gate.partition("/")
        return [*tasks, SHARED].index(reader), which != OWN, which

    return {gate: dict(gates[gate]) for gate in sorted(gates, key=place)}


def mean_use(gates: Mapping, mask: Bool[np.ndarray, " B"] | slice = slice(None)) -> dict:
    """The mean weights over some rows, in the structure of `gates`."""
    return {
        gate: {source: float(np.mean(w[mask], dtype=np.float64)) for source, w in weights.items()}
        for gate, weights in gates.items()
    }


def evenness(weights: Mapping[str, Float[np.ndarray, " B"]]) -> float | None:
    """The mean over rows of a gate's entropy, over that of equal weights.

    1: all sources weigh the same in every row; 0: one has all, not always the same one. None where
    there is one source.
    """
    if len(weights) < 2:
        return None
    each = np.stack(list(weights.values())).astype(np.float64)
    entropy = -(each * np.log(np.maximum(each, 1e-30))).sum(axis=0)
    return float(entropy.mean() / np.log(len(each)))


def reading(evenness: Mapping[str, float | None], use: Use, by_segment: Mapping[str, Use]) -> str:
    """What the numbers come to: which gates choose, and how far segments are apart. '' where no
    gate has a choice."""
    able = {gate: value for gate, value in evenness.items() if value is not None}
    if not able:
        return ""
    idle = [gate for gate, value in able.items() if value > EVEN]
    text = f"evenness {min(able.values()):.3f} to {max(able.values()):.3f}."
    if len(idle) == len(able):
        text = f"The gates hardly choose: {text}"
    elif idle:
        names = ", ".join(idle)
        text = f"{len(idle)} of {len(able)} gates hardly choose (evenness over {EVEN:g}): {names}."
    else:
        text = f"Every gate chooses: {text}"
    apart = [
        abs(weight - use[gate][source])
        for own in by_segment.values()
        for gate, weights in own.items()
        for source, weight in weights.items()
    ]
    if apart:
        text += f" In no segment is a mean weight more than {100 * max(apart):.1f} points from that"
        text += " of all rows."
    return text


def relation(gate: str, source: str, tasks: Sequence[str]) -> str:
    """Whose a source is to the reader of a gate: `own`, `shared` or `other`.

    `click/own` and `click/level_0` are read by click. The experts `order/mlp_0` and
    `level_1_order/mlp_0` are order's, and so is AITM's source `order`.
    """
    group = source.partition("/")[0]
    if group not in (*tasks, SHARED):
        group = without_level(group)
    if group == gate.partition("/")[0]:
        return OWN
    return SHARED if group == SHARED else OTHER


def without_level(group: str) -> str:
    """`level_1_order` is of the group `order`."""
    return re.sub(r"^level_\d+_", "", group)


def relations(use: Use, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """{gate: {own, shared, other: the weight of all such sources}}; absent ones are left out."""
    found: dict[str, dict[str, float]] = {}
    for gate, weights in use.items():
        sums = found.setdefault(gate, {})
        for source, weight in weights.items():
            whose = relation(gate, source, tasks)
            sums[whose] = sums.get(whose, 0.0) + weight
    return found


def shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Each weight's size over the sum of all sizes."""
    total = sum(map(abs, weights.values()))
    return {source: abs(weight) / max(total, 1e-30) for source, weight in weights.items()}


def collapse(use: Use) -> list[str]:
    """What there is to warn of; empty where every expert is used and no gate has one alone.

    `use` has the effective weights where they differ from the gates'. Each is taken as its share of
    its gate's sum, and without its sign, which AdaTT's may have.
    """
    use = {gate: shares(weights) for gate, weights in use.items()}
    warnings = []
    for gate, weights in use.items():
        source = max(weights, key=weights.get)
        if len(weights) > 1 and weights[source] > ALONE:
            warnings.append(
                f"gate {gate} gives {source} {100 * weights[source]:.1f} % of its weight: "
                f"its other {len(weights) - 1} sources are hardly used"
            )
    by_source: dict[str, dict[str, float]] = {}
    for gate, weights in use.items():
        for source, weight in weights.items():  # in equal shares, so that gates compare
            by_source.setdefault(source, {})[gate] = weight * len(weights)
    for source, by_gate in by_source.items():
        if max(by_gate.values()) < UNUSED:
            most = max(by_gate, key=by_gate.get)
            warnings.append(
                f"{source} is hardly used: no gate gives it {UNUSED:g} of an equal share, the most "
                f"is {100 * use[most][source]:.2g} % ({most})"
            )
    return warnings
