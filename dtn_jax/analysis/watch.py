"""Use of gates and gradient conflict over training: measured at each validation, on fixed rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import FrozenConfigDict

from dtn_jax.analysis.conflict import batches_of, make_conflict, over_batches
from dtn_jax.analysis.gate_use import GATES, make_gates
from dtn_jax.analysis.sample import draw
from dtn_jax.data.epochs.reader import SplitReader, take
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch
from dtn_jax.options import option
from dtn_jax.parallel import processes
from dtn_jax.parallel.mesh import Placement
from dtn_jax.run.state import State
from dtn_jax.tables.plan import TablePlan

VALIDATION = "validation"
SEED = 0  # of the rows: the same ones in every run on a data set, so that runs compare
KIND = "analysis"  # of the records in metrics.jsonl
GATE = "gate"  # gate:GATE:SOURCE; no task's name has a ":"
COSINE, HALF = "cosine", "cosine_half"  # cosine:TASK:TASK, and half its 95 % interval


@dataclasses.dataclass(frozen=True)
class WatchOptions:
    """Section `analysis`."""

    rows: int = option(
        0,
        "validation rows on which each validation also logs gate use and the cosines of the tasks' "
        "gradients; 0 is off. A cosine is the mean over batches of data.batch_size: 10 batches' "
        "rows cost about ten steps and say something",
        least=0,
        runtime=True,
    )


class Watch:
    """Measures a state on `analysis.rows` fixed validation rows, which stay on the device, in
    batches of data.batch_size; rows that fill no batch are left out.

    It reads the state alone: training is the same with and without it.
    """

    def __init__(
        self,
        config: FrozenConfigDict,
        data: Prepared,
        model: nn.Module,
        plan: TablePlan,
        at: Placement,
    ):
        numbers = draw(data, VALIDATION, config.analysis.rows, SEED)
        rows = SplitReader(data, VALIDATION).picked(numbers)
        self.batches = [
            at.put(own_rows(take(rows, place), at.mesh.size), at.batch())
            for place in batches_of(len(rows.ids), config.data.batch_size)
        ]
        gates = make_gates(model, plan, at.table_mesh)
        conflict = make_conflict(config.loss, model, plan, at.table_mesh)

        def measure(state: State, batch: Batch):
            count = batch.row_mask.sum()
            use = jax.tree.map(
                lambda w: jnp.where(batch.row_mask, w, 0).sum() / count,
                gates(state, batch)[GATES],
            )
            return use, conflict(state, batch)

        self.measure = jax.jit(measure, out_shardings=at.replicated())

    def record(self, state: State, step: int, epoch: float | int) -> dict:
        """What metrics.jsonl gets of this state; a cosine that is not defined is None."""
        each = [jax.device_get(self.measure(state, batch)) for batch in self.batches]
        use, cosines = jax.tree.map(lambda *a: np.stack(a), *each)
        found = {
            f"{GATE}:{gate}:{source}": float(weight.mean())
            for gate, weights in use.items()
            for source, weight in weights.items()
        }
        for (task, other), by_batch in cosines.items():
            mean, half = over_batches(by_batch)
            found |= {f"{COSINE}:{task}:{other}": mean, f"{HALF}:{task}:{other}": half}
        return {"kind": KIND, "step": step, "epoch": epoch} | found


def own_rows(rows: Batch, devices: int) -> Batch:
    """This process's part of the rows, padded to a multiple of the devices."""
    count = len(rows.ids)
    place = np.pad(np.arange(count), (0, -count % devices), constant_values=-1)
    return take(rows, place[processes.own_part(len(place))])


def over_training(history: Sequence[Mapping]) -> dict[str, dict[str, list]]:
    """The records of metrics.jsonl as {"gates" | "cosines" | "cosine_halves": {name: points}}.

    Names are "gate → source" and "task, task", a point [step, value]. A step that was logged twice,
    by a resumed run, has its later value. Empty where nothing was watched.
    """
    found: dict[str, dict[str, dict]] = {"gates": {}, "cosines": {}, "cosine_halves": {}}
    parts = {GATE: ("gates", " → "), COSINE: ("cosines", ", "), HALF: ("cosine_halves", ", ")}
    for record in (record for record in history if record["kind"] == KIND):
        for name, value in record.items():
            what, *pair = name.split(":")
            if what in parts:
                part, between = parts[what]
                found[part].setdefault(between.join(pair), {})[record["step"]] = value
    points = {
        part: {name: [list(point) for point in sorted(p.items())] for name, p in own.items()}
        for part, own in found.items()
    }
    return points if any(points.values()) else {}
