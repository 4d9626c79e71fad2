"""Steps of small models on random batches, for tests of the training step."""

import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.run.state import create_state, read_numbers
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import make_plan

B, STEPS = 16, 4
ROWS = 10  # of a codebook, that tests compare
SCHEMA = Schema(
    "toy",
    fields=(Field("user", rows=20), Field("item", rows=30), Field("hour", rows=10)),
    tasks=(Task("click"), Task("order", space="click", upstream=("click",))),
    weight="w",
    loss_weight="l",
)


def config(**changes):
    """A small model's config; `model__dropout=0.1` changes model.dropout."""
    c = base.get_config()
    c.model.embedding_dim = 4
    c.model.expert_dim = 8
    c.model.experts = "mlp"
    c.model.mlp.hidden = ()
    c.model.tower_hidden = (8,)
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return c


def batches(steps=STEPS, seed=0):
    """Random batches `[steps, B, ...]` of SCHEMA."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.random((steps, B, 2)) < 0.5, axis=-1)[..., ::-1]  # order implies click
    rows = [f.rows for f in SCHEMA.fields]
    return Batch(
        ids=jnp.asarray(rng.integers(0, rows, (steps, B, 3)), jnp.int32),
        weights=jnp.asarray(np.zeros((steps, B, 0))),
        numeric=jnp.asarray(np.zeros((steps, B, 0))),
        labels=jnp.asarray(labels, jnp.float32),
        label_mask=jnp.asarray(np.ones((steps, B, 2), bool)),
        sample_weight=jnp.asarray(rng.random((steps, B)), jnp.float32),
        row_mask=jnp.asarray(np.ones((steps, B), bool)),
        loss_weight=jnp.asarray(rng.random((steps, B)) + 0.5, jnp.float32),
    )


def build(c, schema=SCHEMA):
    """The model of a config, and the plan of its tables."""
    views = architectures.views(c.model, schema)
    codebooks = architectures.codebooks(c.model, schema)
    platform = c.parallel.table_platform.replace("auto", "cpu")
    plan = make_plan(schema, c.model, views, codebooks, platform)
    model = architectures.build(c.model, schema, table_init=c.optim.table_init)
    return model, plan


def first_state(c, model, plan):
    """The state at step 0, drawn by one program rather than by hundreds."""
    return jax.jit(lambda n: create_state(c, model, plan, n))(read_numbers(c, plan.schema))


def run(c, chunk=None, total_steps=10, schema=SCHEMA):
    """The state and losses after the steps of a chunk."""
    model, plan = build(c, schema)
    chunk = batches() if chunk is None else chunk
    steps = chunk.row_mask.shape[0]
    train_chunk = jax.jit(make_train_chunk(make_train_step(c, model, plan, total_steps), steps))
    return train_chunk(first_state(c, model, plan), chunk, steps)


copied = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))  # of what a program consumes


def placed_run(c, chunk, schema=SCHEMA, state=None, total_steps=100):
    """The same on the devices that the config names; `state` is the first one, which stays."""
    model, plan = build(c, schema)
    at, steps = make_placement(c), chunk.row_mask.shape[0]
    state = first_state(c, model, plan) if state is None else copied(state)
    state = jax.device_put(state, at.state(state))
    step = make_train_step(c, model, plan, total_steps, at.table_mesh)
    train_chunk = at.compile(make_train_chunk(step, steps), state)
    return train_chunk(state, at.put(chunk, at.chunk()), steps)


def leaves(state, plan=None):
    """Parameters, tables and statistics, as a list of arrays.

    With `plan`, the tables' first rows `[·, D]`, however they lie.
    """
    tables = state.tables
    if plan:
        shown = {"embedding": sum(f.rows for f in plan.schema.fields), "codebook": ROWS}
        tables = {
            name: lie.to_rows(np.asarray(tables[name]))[: shown[name]]
            for name, lie in plan.arrays.items()
        }
    kept = {"params": state.params, "tables": tables, "model_state": state.model_state}
    return [np.asarray(x) for x in jax.tree.leaves(kept)]
