"""What histories cost: a step of DTN with a history of 50, 200 or 1000 items beside 23 fields.

DTN at its default sizes (E = 16, GDCN and MaskNet experts, batch 1024), 23 fields of 2 M table rows
in all, on this machine. A history lists earlier values of one field, as many as it has places for,
and is pooled by its mean or by the item at hand. Steps are taken in the compiled loop over a chunk.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.config import base_config
from dtn_jax.input.batches import CHUNK_STEPS
from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.models.histories import HISTORIES
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables import huge_pages
from dtn_jax.tables.plan import make_plan

from .measured import Goal, Measured, Options, ratio, timed_in_turns
from .tables import random_chunk

FIELDS, ROWS = 23, 2_000_000
LENGTHS = (50, 200, 1000)
STEPS = 4  # timed together
ROUNDS = 5
MEAN = "mean"
WAYS = (MEAN, *HISTORIES)
COST = {MEAN: 1.6, "din": 2.5}  # of the step without, at the shortest length


def measure(options: Options) -> Measured:
    lengths = (5, 9) if options.quick else LENGTHS
    rows, goals = [], []
    for length in lengths:
        timers, memory = {}, {}
        for name, own, way in (("without", 0, ""), *((way, length, way) for way in WAYS)):
            timers[name], memory[name] = timer(own, way, options.quick)
        seconds = timed_in_turns(timers, 2 if options.quick else ROUNDS)
        for name in timers:
            cost = ratio(seconds[name], seconds["without"])
            rows.append(
                {
                    "items": length if name != "without" else 0,
                    "pooling": name,
                    "ms a step": 1e3 * float(np.median(seconds[name])),
                    "x without": cost,
                    "temporaries MB": memory[name] / 1e6,
                }
            )
            if length == lengths[0] and name in COST:
                goal = f"{length} items, {name}: time of the step without"
                goals.append(Goal(goal, COST[name], cost, at_least=False))
    title = "a training step of DTN (E = 16, 23 fields, batch 1024) with a history of items"
    note = "Temporaries: of the compiled chunk. Histories are full; all ids are as logs have them."
    return Measured(title, rows, goals, [note])


def timer(length: int, way: str, quick: bool) -> tuple[Callable[[], float], int]:
    """A function that makes steps and returns seconds a step, and the bytes of its temporaries."""
    config = base_config()
    config.model.architecture, config.model.experts = "dtn", "gdcn+masknet"
    config.model.histories = "" if way == MEAN else way
    if quick:
        config.data.batch_size, config.model.embedding_dim = 32, 4
    schema = with_history(length, ROWS if not quick else 23_000)
    model = architectures.build(config.model, schema)
    plan = make_plan(schema, config.model, ("shared",), 0)
    step = make_train_step(config, model, plan, total_steps=1000)
    state = jax.jit(lambda: create_state(config, model, plan))()
    huge_pages.use((state.tables, state.slots))
    chunk = random_histories(schema, config.data.batch_size)
    loop = jax.jit(make_train_chunk(step, CHUNK_STEPS), donate_argnums=0)
    compiled = loop.lower(state, chunk, STEPS).compile()
    held = {"state": compiled(state, chunk, STEPS)[0]}

    def run() -> float:
        start = time.perf_counter()
        held["state"], _ = jax.block_until_ready(compiled(held["state"], chunk, STEPS))
        return (time.perf_counter() - start) / STEPS

    return run, compiled.memory_analysis().temp_size_in_bytes


def with_history(length: int, rows: int) -> Schema:
    """Of FIELDS fields, and a history of the first one's values where it has a length."""
    fields = [Field(f"f{i}", rows=rows // FIELDS) for i in range(FIELDS)]
    if length:
        given = {"rows": rows // FIELDS, "table": "f0", "slots": length, "target": "f0"}
        fields.append(Field("history", "sequence", pooling="mean", **given))
    return Schema("benchmark", tuple(fields), (Task("click"), Task("order", upstream=("click",))))


def random_histories(schema: Schema, batch_size: int) -> Batch:
    """A chunk whose histories are drawn as the field is whose values they are."""
    single = Schema(schema.name, schema.fields[:FIELDS], schema.tasks)
    chunk, length = random_chunk(single, batch_size, "zipf"), schema.slots - FIELDS
    if not length:
        return chunk
    alike = Schema(
        schema.name,
        tuple(Field(f"h{i}", rows=schema.fields[0].rows) for i in range(length)),
        schema.tasks,
    )
    past = random_chunk(alike, batch_size, "zipf").ids
    return chunk.replace(ids=jnp.concatenate([chunk.ids, past], axis=-1))
