"""Whether a run fits in memory, told before anything of it is compiled."""

from __future__ import annotations

import jax

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.parallel import memory
from dtn_jax.parallel.memory import Part, bytes_of
from dtn_jax.run.run import Run

WIDTHS = (
    "model.experts, model.expert_dim, model.tower_hidden, the widths of an expert, "
    "model.embedding_dim"
)
LOWER = f"data.batch_size, data.eval_batch_size, {WIDTHS}"


def check_fits(run: Run, replicas: int = 1, trains: bool = True) -> None:
    """Raises OutOfMemory where the run holds more than there is, if `parallel.check_memory` is on.

    Args:
      run: of which nothing is made yet.
      replicas: that are trained in one program.
      trains: or it only scores.
    """
    if run.config.parallel.check_memory:
        memory.check(held(run, replicas, trains), run.at.mesh.local_devices)


def held(run: Run, replicas: int = 1, trains: bool = True) -> list[Part]:
    """What a run holds on one device, as far as it is known before anything is compiled.

    Args: as `check_fits`.
    """
    state = run.state_places if trains else run.state_places.to_score()
    codebooks = ", model.hcnet.codebook_rows" if run.plan.codebooks else ""
    slots = "model.embedding_dim; optim.tables=adagrad keeps a number a row, sgd none"
    batches = "data.batch_size, data.eval_batch_size"
    dense = state.params, state.iterate, state.model_state
    parts = [
        Part("tables, padding included", bytes_of(state.tables), f"model.embedding_dim{codebooks}"),
        Part(f"slots (optim.tables={run.config.optim.tables})", bytes_of(state.slots), slots),
        Part("dense parameters", bytes_of(dense), WIDTHS),
        Part("their moments (Adam)", bytes_of(state.opt_state), WIDTHS),
        Part("batches and the rows that one looks up", step_bytes(run), batches),
    ]
    parts = [part._replace(bytes=replicas * part.bytes) for part in parts]
    if trains and is_resident(run):  # once for all replicas
        rows = run.data.rows["train"]
        lower = "data.placement=stream, or less data.device_bytes"
        parts.append(Part(f"{rows:,} rows of train", rows * run.data.row_bytes(run.grouped), lower))
    return parts


def step_bytes(run: Run) -> int:
    """What a training step or a scoring step holds beside the state on one device, whichever is
    more."""
    data, plan, row_bytes = run.config.data, run.plan, run.data.row_bytes(run.grouped)
    looked_up = {n: 4 * plan.arrays[n].width * ids for n, ids in plan.ids_of_example.items()}
    rows = sum(looked_up.values()) // run.config.train.accumulate
    train = data.batch_size * (CHUNK_STEPS * row_bytes + rows)
    # Scoring may sum a bag's rows as it reads them.
    pooled = 4 * plan.dim * len(plan.views) * len(plan.schema.read)
    looked_up["embedding"] = min(pooled, looked_up["embedding"])
    score = data.eval_batch_size * (row_bytes + sum(looked_up.values()))
    return max(train, score) // run.at.mesh.size


def is_resident(run: Run) -> bool:
    """Whether the train split is placed on the device."""
    if run.config.data.placement != "auto":
        return run.config.data.placement == "device"
    size = run.data.rows["train"] * run.data.row_bytes(run.grouped)
    return size <= run.config.data.device_bytes and jax.process_count() == 1
