"""Replicas in one program beside the same runs one after another, for two sizes of DTN."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.config import base_config
from dtn_jax.input.batches import CHUNK_STEPS
from dtn_jax.models import build as architectures
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables.plan import make_plan

from .measured import Measured, Options, ratio, timed_in_turns
from .tables import random_chunk

REPLICAS = 4
SIZES = {"small": (8, 16, 256), "usual": (16, 64, 1024)}  # E, H, batch
ROWS = 23_000
ROUNDS = 5


def measure(options: Options) -> Measured:
    rows = []
    for name, (dim, width, batch_size) in SIZES.items():
        seconds = timed_in_turns(
            both_ways(dim, width, 32 if options.quick else batch_size),
            2 if options.quick else ROUNDS,
        )
        rows.append(
            {
                "model": f"{name}: E = {dim}, H = {width}, batch {batch_size}",
                "one after another, ms": 1e3 * float(np.median(seconds["alone"])),
                "in one program, ms": 1e3 * float(np.median(seconds["together"])),
                "ratio": ratio(seconds["together"], seconds["alone"]),
            }
        )
    title = f"{REPLICAS} replicas of DTN (gdcn+masknet), ms for one step of all"
    return Measured(title, rows, notes=["ratio: time in one program over one after another"])


def both_ways(dim: int, width: int, batch_size: int) -> dict:
    config = base_config()
    config.model.embedding_dim, config.model.expert_dim = dim, width
    fields = tuple(Field(f"f{i}", rows=ROWS // 23) for i in range(23))
    schema = Schema("benchmark", fields, (Task("click"), Task("order", upstream=("click",))))
    model = architectures.build(config.model, schema)
    plan = make_plan(schema, config.model, ("shared",), 0)
    step = make_train_step(config, model, plan, total_steps=1000)
    train_chunk = make_train_chunk(step, CHUNK_STEPS, stops=False)
    chunk = random_chunk(schema, batch_size, "zipf")
    state = jax.jit(lambda: create_state(config, model, plan))
    many = jax.tree.map(lambda *a: jnp.stack(a), *[state() for _ in range(REPLICAS)])
    chunks = jax.tree.map(lambda a: jnp.stack([a] * REPLICAS), chunk)
    held = {"alone": [state() for _ in range(REPLICAS)], "together": many}
    one = jax.jit(train_chunk, donate_argnums=0)
    all_ = jax.jit(jax.vmap(train_chunk, in_axes=(0, 0, None)), donate_argnums=0)

    def alone():
        start = time.perf_counter()
        for i in range(REPLICAS):
            held["alone"][i], metrics = one(held["alone"][i], chunk, CHUNK_STEPS)
            jax.block_until_ready((held["alone"][i], metrics))
        return (time.perf_counter() - start) / CHUNK_STEPS

    def together():
        start = time.perf_counter()
        held["together"], metrics = all_(held["together"], chunks, CHUNK_STEPS)
        jax.block_until_ready((held["together"], metrics))
        return (time.perf_counter() - start) / CHUNK_STEPS

    alone(), together()  # compile
    return {"alone": alone, "together": together}
