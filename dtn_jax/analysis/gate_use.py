"""How each task uses each expert: gate weights, whose they are, and when experts have collapsed.

A gate's weights are not all that scales an expert: DTN's TSN and AdaTT's native weights come after
the gate. `effective` weights have these in them (see interface.Outputs). How large an expert's
outputs are is in neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dtn_jax.analysis.sample import Forward
from dtn_jax.interface import SHARED, Batch
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Bool, Float

OWN, OTHER = "own", "other"
ATTENDED = "attended"  # a token or field, in a trunk
UNUSED = 0.1  # of an equal share: an expert with less in every gate that could use it is unused
ALONE = 0.95  # a gate that gives one of several experts this much uses that one alone
GATES, EFFECTIVE = "gates", "effective"  # of the intermediates
ALL, ALL_ROWS = "all rows", slice(None)

Gates = dict[str, dict[str, Float[Array, " B"]]]  # {gate: {source: weight}}, see interface.Outputs


def make_gates(forward: Forward) -> Callable[[State, Batch], dict[str, Gates]]:
    """Returns `(state, batch) -> {gates | effective: {gate: {source: weights [B]}}}`.

    Both are empty where there are no gates; `effective` has those gates alone in which it differs.
    """

    def gates(state: State, batch: Batch) -> dict[str, Gates]:
        outputs = forward.apply(state, forward.inputs(state, batch))
        return {which: outputs.intermediates.get(which, {}) for which in (GATES, EFFECTIVE)}

    return gates


def rows(
    weights: Gates, tasks: Sequence[str], part: str, mask: Bool[np.ndarray, " B"] | slice = ALL_ROWS
) -> list[dict]:
    """The mean weights over some rows: a row a gate and source, which says `whose` the source is.

    The gates are by reader, in the tasks' order and `shared` last, the own experts' gate first:
    what comes from a compiled program is in the order of the alphabet.

    Args:
      weights: of all rows.
      tasks: in whose order the gates are.
      part: what the rows are called.
      mask: those rows.
    """

    def place(gate: str):
        reader, _, which = gate.partition("/")
        return [*tasks, SHARED].index(reader), which != OWN, which

    table = []
    for gate in sorted(weights, key=place):
        for source, weight in weights[gate].items():
            mean = float(np.mean(weight[mask], dtype=np.float64))
            row = {"gate": gate, "source": source, "whose": relation(gate, source, tasks)}
            table.append(row | {"part": part, "weight": mean})
    return table


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


def relation(gate: str, source: str, tasks: Sequence[str]) -> str:
    """Whose a source is to the reader of a gate: `own`, `shared`, `other`; or it is `attended`.

    `click/own` and `click/level_0` are read by click. The experts `order/mlp_0` and
    `level_1_order/mlp_0` are order's, and so is AITM's source `order`.
    """
    group = source.partition("/")[0]
    if group in ("token", "field"):
        return ATTENDED
    if group not in (*tasks, SHARED):
        group = re.sub(r"^level_\d+_", "", group)
    if group == gate.partition("/")[0]:
        return OWN
    return SHARED if group == SHARED else OTHER


def collapse(table: Sequence[Mapping]) -> list[str]:
    """What there is to warn of; empty where every expert is used and no gate has one alone. What a
    trunk does not attend to may still be read: of that nothing is said.

    Args:
      table: what `rows` gives, of all rows and `EFFECTIVE`: a gate's effective weights count where
        it has them. Each is taken as its share of its gate's sum, and without its sign, which
        AdaTT's may have.
    """
    use: dict[str, dict[str, float]] = {}
    for row in table:
        if row["part"] in (ALL, EFFECTIVE) and row["whose"] != ATTENDED:
            use.setdefault(row["gate"], {})[row["source"]] = abs(row["weight"])
    warnings, best = [], {}
    for gate, weights in use.items():
        total = max(sum(weights.values()), 1e-30)
        source = max(weights, key=weights.get)
        if len(weights) > 1 and weights[source] / total > ALONE:
            warnings.append(
                f"gate {gate} gives {source} {100 * weights[source] / total:.1f} % of its weight: "
                f"its other {len(weights) - 1} sources are hardly used"
            )
        for source, weight in weights.items():  # in equal shares, so that gates compare
            best[source] = max(best.get(source, 0), weight / total * len(weights))
    return warnings + [
        f"{source} is hardly used: no gate gives it {UNUSED:g} of an equal share"
        for source, most in best.items()
        if most < UNUSED
    ]
