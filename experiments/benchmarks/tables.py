"""Step time by table length: shared_bottom (E = 16, 23 fields) at 0.2, 2 and 20 M table rows.

A step touches only the rows of its batch, so the times should be equal; what differs is how often
memory has them at hand. Measured inside the compiled loop over a chunk and outside of it, with ids
as logs have them (`zipf`), all different (the dearest case: nearly each is a cache miss) and all
equal.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.config import base_config
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.models import build as architectures
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import huge_pages
from dtn_jax.tables.plan import make_plan
from dtn_jax.tables.stored_rows import StoredRows
from dtn_jax.tables.updater import table_updater
from experiments.benchmarks.measured import Goal, Measured, Options, ratio, timed_in_turns
from experiments.benchmarks.step import FIELDS, IDS, random_chunk

ROWS = (200_000, 2_000_000, 20_000_000)
OPTIMIZERS = ("adam", "adagrad", "sgd", "adam, bfloat16")
ROUNDS = 9
SINGLE_STEPS = 4  # timed together


def measure(options: Options) -> Measured:
    sizes = (20_000, 40_000) if options.quick else ROWS
    lines, goals = [], []
    for optimizer in OPTIMIZERS:
        timers = {
            (*how, rows): timer
            for rows in sizes
            for how, timer in table_steps(rows, optimizer).items()
        }
        seconds = timed_in_turns(timers, 2 if options.quick else ROUNDS)
        for ids in IDS:
            row = {"optimizer": optimizer, "ids": ids, "bytes a row": bytes_a_row(optimizer)}
            for how in ("loop", "single"):
                for rows in sizes:
                    median = float(np.median(seconds[ids, how, rows]))
                    row[f"{how}, {rows / 1e6:g} M"] = 1e3 * median
                longest = ratio(seconds[ids, how, sizes[-1]], seconds[ids, how, sizes[0]])
                row[f"{how}, ratio"] = longest
                goals.append(Goal(f"{optimizer}, {ids} ids, {how}", 1.1, longest, at_least=False))
            lines.append(row)
    title = "ms a step of shared_bottom (E = 16, 23 fields, batch 1024) by table rows"
    return Measured(title, lines, goals)


def table_steps(rows: int, optimizer: str) -> dict[tuple[str, str], Callable[[], float]]:
    """Per kind of ids and way of stepping, a function that makes steps and returns seconds a step.

    All share one compiled loop, one compiled step and one state.
    """
    config = base_config()
    config.model.architecture, config.model.experts = "shared_bottom", "mlp"
    config.optim.tables, _, dtype = optimizer.partition(", ")
    config.optim.table_dtype = dtype or "float32"
    fields = tuple(Field(f"f{i}", rows=rows // FIELDS) for i in range(FIELDS))
    schema = Schema("benchmark", fields, (Task("click"), Task("order")))
    model = architectures.build(config.model, schema)
    plan = make_plan(schema, config.model, ("shared",), 0)
    step = make_train_step(config, model, plan, total_steps=1000)
    chunks = {ids: random_chunk(schema, config.data.batch_size, ids) for ids in IDS}
    firsts = {ids: jax.tree.map(lambda a: a[0], chunk) for ids, chunk in chunks.items()}
    state = jax.jit(lambda: create_state(config, model, plan))()
    huge_pages.use((state.tables, state.slots))
    loop = jax.jit(make_train_chunk(step, CHUNK_STEPS), donate_argnums=0)
    single = jax.jit(step, donate_argnums=0)
    state, _ = loop(state, chunks[IDS[0]], CHUNK_STEPS)
    state, _ = single(state, firsts[IDS[0]])
    held = {"state": state}  # all donate and replace the one state

    def timed(advance, steps):
        start = time.perf_counter()
        for _ in range(steps):
            held["state"], metrics = advance(held["state"])
        jax.block_until_ready((held["state"], metrics))
        return time.perf_counter() - start

    def in_loop(ids):
        return timed(lambda state: loop(state, chunks[ids], CHUNK_STEPS), 1) / CHUNK_STEPS

    def outside(ids):
        return timed(lambda state: single(state, firsts[ids]), SINGLE_STEPS) / SINGLE_STEPS

    ways = {"loop": in_loop, "single": outside}
    return {(ids, how): functools.partial(f, ids) for ids in IDS for how, f in ways.items()}


def bytes_a_row(optimizer: str) -> int:
    """Of a table of width 16 with its slots."""
    config = base_config()
    config.optim.tables, _, dtype = optimizer.partition(", ")
    init = table_updater(config.optim, "cpu").init
    lie = StoredRows(1, 16)
    table = jax.ShapeDtypeStruct(lie.shape, jnp.float32)
    slots = jax.tree.leaves(jax.eval_shape(lambda t: init(t, lie), table))
    stored = 2 if dtype == "bfloat16" else 4
    return 16 * stored + sum(slot.size * slot.dtype.itemsize for slot in slots)
