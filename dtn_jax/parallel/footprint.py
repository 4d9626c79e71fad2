"""What a run holds in memory, from shapes: its state, and what a step holds beside it."""

from __future__ import annotations

from typing import Any

import jax
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.parallel.memory import Part, bytes_of, largest
from dtn_jax.tables.plan import TablePlan

WIDTHS = (
    "model.experts, model.expert_dim, model.tower_hidden, the widths of an expert, "
    "model.embedding_dim"
)


def state_parts(config: ConfigDict | FrozenConfigDict, state: Any, plan: TablePlan) -> list[Part]:
    """Of what a run holds from its first step to its last, on one device.

    Args:
      config: of the run.
      state: a `State` of shapes with shardings.
      plan: of its tables.
    """
    optim = config.optim
    lie = [f"{array.lines:,} × {array.lanes:,} numbers" for array in plan.arrays.values()]
    dense = sum(bytes_of(p) // p.dtype.itemsize for p in jax.tree.leaves(state.params))
    return [
        Part(
            f"tables, {' and '.join(lie)}, padding included",
            bytes_of(state.tables),
            "model.embedding_dim" + (", model.hcnet.codebook_rows" if plan.codebooks else ""),
        ),
        Part(
            f"the tables' slots (optim.tables={optim.tables})",
            bytes_of(state.slots),
            "model.embedding_dim; optim.tables=adagrad keeps a number a row, sgd none",
        ),
        Part(
            f"dense parameters, {dense:,}, the largest {largest(state.params)}"
            + ", and their average" * bool(state.iterate),
            bytes_of((state.params, state.iterate, state.model_state)),
            WIDTHS,
        ),
        Part("the dense parameters' moments (Adam)", bytes_of(state.opt_state), WIDTHS),
    ]


def step_part(
    config: ConfigDict | FrozenConfigDict, plan: TablePlan, row_bytes: int, devices: int
) -> Part:
    """What a training step or a scoring step holds beside the state on one device, whichever is
    more.

    Args:
      config: of the run.
      plan: of its tables.
      row_bytes: of an example in a batch.
      devices: that share a batch.
    """
    data, parts = config.data, config.train.accumulate
    looked_up = {n: 4 * plan.arrays[n].width * ids for n, ids in plan.ids_of_example.items()}
    rows = sum(looked_up.values()) // parts
    train = data.batch_size * (CHUNK_STEPS * row_bytes + rows) // devices
    # Scoring may sum a bag's rows as it reads them.
    pooled = 4 * plan.dim * len(plan.views) * len(plan.schema.read)
    rows = sum((looked_up | {"embedding": min(pooled, looked_up["embedding"])}).values())
    score = data.eval_batch_size * (row_bytes + rows) // devices
    if score > train:
        name = f"{data.eval_batch_size:,} examples of a scoring step and the rows they look up"
        return Part(name, score, "data.eval_batch_size")
    name = f"{CHUNK_STEPS} batches of {data.batch_size:,} and the rows that one looks up"
    return Part(name, train, "data.batch_size")
