"""Step time by table length: shared_bottom (E = 16, 23 fields) at 0.2, 2 and 20 M table rows.

A step touches only the rows of its batch, so the times should be equal; what differs is how often
memory has them at hand. Measured inside the compiled loop over a chunk and outside of it, with ids
as logs have them (`zipf`), all different (the dearest case: nearly each is a cache miss) and all
equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from dtn_jax import architectures, huge_pages
from dtn_jax.embedding import make_plan
from dtn_jax.input_pipeline import CHUNK_STEPS, Batch
from dtn_jax.optimizers import table_updater
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from experiments.suites.measured import Goal, Measured, Options, ratio, timed_in_turns

FIELDS = 23
ROWS = (200_000, 2_000_000, 20_000_000)
OPTIMIZERS = ("adam", "adagrad", "sgd", "adam, bfloat16")
IDS = ("zipf", "different", "equal")
ZIPF = 1.1  # the exponent
ROUNDS = 21
SINGLE_STEPS = 4  # timed together


def measure(options: Options) -> Measured:
    sizes = (20_000, 40_000) if options.quick else ROWS
    found, goals = [], []
    for optimizer in OPTIMIZERS:
        for ids in IDS:
            timers = {
                (how, rows): timer
                for rows in sizes
                for how, timer in table_steps(rows, optimizer, ids).items()
            }
            seconds = timed_in_turns(timers, 2 if options.quick else ROUNDS)
            row = {"optimizer": optimizer, "ids": ids, "bytes a row": bytes_a_row(optimizer)}
            for how in ("loop", "single"):
                for rows in sizes:
                    row[f"{how}, {rows / 1e6:g} M"] = 1e3 * float(np.median(seconds[how, rows]))
                longest = ratio(seconds[how, sizes[-1]], seconds[how, sizes[0]])
                row[f"{how}, ratio"] = longest
                goals.append(Goal(f"{optimizer}, {ids} ids, {how}", 1.1, longest, at_least=False))
            found.append(row)
    title = "ms a step of shared_bottom (E = 16, 23 fields, batch 1024) by table rows"
    return Measured(title, found, goals)


def table_steps(rows: int, optimizer: str, ids: str) -> dict[str, Callable[[], float]]:
    """Per way of stepping, a function that makes steps and returns seconds a step."""
    config = base.get_config()
    config.model.architecture, config.model.experts = "shared_bottom", "mlp"
    config.optim.tables, _, dtype = optimizer.partition(", ")
    config.optim.table_dtype = dtype or "float32"
    fields = tuple(Field(f"f{i}", rows=rows // FIELDS) for i in range(FIELDS))
    schema = Schema("benchmark", fields, (Task("click"), Task("order")))
    model = architectures.build(config.model, schema)
    plan = make_plan(schema, config.model, ("shared",), 0)
    step = make_train_step(config, model, plan, total_steps=1000)
    chunk = random_chunk(schema, config.data.batch_size, ids)
    first = jax.tree.map(lambda a: a[0], chunk)
    state = jax.jit(lambda: create_state(config, model, plan))()
    huge_pages.use((state.tables, state.slots))
    loop = jax.jit(make_train_chunk(step, CHUNK_STEPS), donate_argnums=0)
    single = jax.jit(step, donate_argnums=0)
    state, _ = loop(state, chunk, CHUNK_STEPS)
    state, _ = single(state, first)
    held = {"state": state}  # both ways donate and replace the one state

    def timed(advance, steps):
        start = time.perf_counter()
        for _ in range(1 if advance is loop else steps):
            given = (chunk, CHUNK_STEPS) if advance is loop else (first,)
            held["state"], metrics = advance(held["state"], *given)
        jax.block_until_ready((held["state"], metrics))
        return (time.perf_counter() - start) / steps

    return {
        "loop": lambda: timed(loop, CHUNK_STEPS),
        "single": lambda: timed(single, SINGLE_STEPS),
    }


def bytes_a_row(optimizer: str) -> int:
    """Of a table of width 16 with its slots."""
    config = base.get_config()
    config.optim.tables, _, dtype = optimizer.partition(", ")
    init, _ = table_updater(config.optim)
    table = jax.ShapeDtypeStruct((1, 16), jnp.float32)
    slots = jax.tree.leaves(jax.eval_shape(init, table))
    stored = 2 if dtype == "bfloat16" else 4
    return 16 * stored + sum(slot.size * slot.dtype.itemsize for slot in slots)


def random_chunk(schema: Schema, batch_size: int, ids: str) -> Batch:
    """A chunk of random examples; `ids` is one of IDS."""
    rng = np.random.default_rng(0)
    shape = (CHUNK_STEPS, batch_size)
    limits = np.asarray([f.rows for f in schema.fields])
    tasks = len(schema.tasks)
    drawn = rng.random((*shape, len(limits)))
    if ids == "zipf":  # P(id >= k) falls as k^(1 - a), bounded to the table
        drawn = ((limits.astype(float) ** (1 - ZIPF) - 1) * drawn + 1) ** (1 / (1 - ZIPF)) - 1
        drawn = drawn / limits
    if ids == "equal":
        drawn = np.zeros_like(drawn)
    return Batch(
        ids=jnp.asarray(np.minimum(drawn * limits, limits - 1), jnp.int32),
        numeric=jnp.zeros((*shape, 0)),
        labels=jnp.asarray(rng.random((*shape, tasks)) < 0.2, jnp.float32),
        label_mask=jnp.ones((*shape, tasks), bool),
        sample_weight=jnp.ones(shape),
        row_mask=jnp.ones(shape, bool),
    )
