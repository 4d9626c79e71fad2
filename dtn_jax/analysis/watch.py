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
from dtn_jax.analysis.sample import Forward, read_sample
from dtn_jax.data.epochs.reader import take
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
CONFLICT = "cosine of the tasks' gradients"


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
        rows, _ = read_sample(data, VALIDATION, config.analysis.rows, SEED)
        self.batches = [
            at.put(own_rows(take(rows, place), at.mesh.size), at.batch())
            for place in batches_of(len(rows.ids), config.data.batch_size)
        ]
        forward = Forward(model, plan, at.table_mesh)
        gates, conflict = make_gates(forward), make_conflict(config.loss, forward)

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
        record = {"kind": KIND, "step": step, "epoch": epoch}
        for gate, weights in use.items():
            record |= {f"{GATE}:{gate}:{s}": float(w.mean()) for s, w in weights.items()}
        for (task, other), by_batch in cosines.items():
            mean, half = over_batches(by_batch)
            record |= {f"{COSINE}:{task}:{other}": mean, f"{HALF}:{task}:{other}": half}
        return record


def own_rows(rows: Batch, devices: int) -> Batch:
    """This process's part of the rows, padded to a multiple of the devices."""
    count = len(rows.ids)
    place = np.pad(np.arange(count), (0, -count % devices), constant_values=-1)
    return take(rows, place[processes.own_part(len(place))])


def over_training(history: Sequence[Mapping]) -> list[dict]:
    """The records of metrics.jsonl as a long table: `panel` (a gate, or CONFLICT), `line` (a
    source, or two tasks), `step`, `value`, and `low` and `high`, the ends of a cosine's interval.

    A step that was logged twice, by a resumed run, has its later value. Empty where nothing was
    watched.
    """
    table: dict[tuple, dict] = {}
    for record in (record for record in history if record["kind"] == KIND):
        for name, value in record.items():
            what, *pair = name.split(":")
            half = record.get(":".join((HALF, *pair)))
            if what not in (GATE, COSINE):
                continue
            panel, line = pair if what == GATE else (CONFLICT, ", ".join(pair))
            row = {"panel": panel, "line": line, "step": record["step"], "value": value}
            ends = (None, None) if half is None else (max(value - half, -1), min(value + half, 1))
            table[panel, line, record["step"]] = row | dict(zip(("low", "high"), ends))
    return sorted(table.values(), key=lambda row: (row["panel"] == CONFLICT, row["step"]))
