"""A run of a small model on random rows of every kind of field, without data or training."""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from batches import batch_of

from configs.base import get_config
from dtn_jax.analysis.passes import Passes
from dtn_jax.config import checked_config
from dtn_jax.data.blocks import Layout
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.run.run import Run
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_score_step
from dtn_jax.run.timetable import make_timetable
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import exchange, lookup
from dtn_jax.tables.plan import make_plan

B, D = 90, 3
SCHEMA = Schema(
    "shop",
    fields=(
        Field("item", rows=7),
        Field("words", kind="bag", rows=9, slots=3, pooling="mean", weighted=True),
        Field("price", kind="numeric", rows=2, standardised=True),
        Field("hour", rows=5),
    ),
    tasks=(Task("click"), Task("order", also_report=("click",)), Task("stars", kind="regression")),
)


def rows(seed=0, count=B):
    """A weighted bag of 0 to 3 words; some prices are missing."""
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.integers(0, f.rows, count) for f in SCHEMA.slot_fields()], axis=1)
    ids[:, 1:4][np.arange(3)[None] >= rng.integers(0, 4, count)[:, None]] = -1
    price = np.where(ids[:, 4] == 1, rng.normal(size=count), 1)
    labels = (rng.random((count, 3)) < [0.5, 0.4, 0.3]).astype(np.float32)
    labels[:, 2] = rng.normal(size=count)
    return batch_of(
        ids.astype(np.int32),
        labels,
        weights=rng.random((count, 3)).astype(np.float32),
        numeric=price[:, None].astype(np.float32),
        sample_weight=rng.random(count).astype(np.float32),
    )


class Tiny(NamedTuple):
    """A run, its random state, the passes over its rows, and a plain scoring step."""

    run: Run
    state: object
    rows: Batch
    passes: Passes
    naive: Callable


def tiny(architecture="shared_bottom", schema=SCHEMA, given=None, **changes):
    """A model with random weights, in float64; batches of 32 on two devices.

    `given` are rows of the schema.
    """
    config = get_config()
    config.model.architecture, config.model.experts = architecture, "gdcn+mlp"
    config.model.embedding_dim, config.model.expert_dim = D, 4
    config.model.tower_hidden = config.model.mlp.hidden = (5,)
    config.model.dtype, config.optim.table_init = "float64", 1.0
    config.data.eval_batch_size, config.parallel.devices = 32, 2
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    config = checked_config(config)
    views = architectures.views(config.model, schema)
    data = Prepared(pathlib.Path(), schema, Layout(1, 8), {"train": B}, {}, "", "", {})
    run = Run(
        config=config,
        data=data,
        schema=schema,
        model=architectures.build(config.model, schema, table_init=config.optim.table_init),
        plan=make_plan(schema, config.model, views, 0),
        at=make_placement(config),
        at_steps=make_timetable(config.train, steps_per_epoch=1, batch_size=B),
    )
    make = functools.partial(create_state, config, run.model, run.plan)
    state = jax.jit(make, out_shardings=run.at.state(jax.eval_shape(make)))()
    given = rows() if given is None else given
    naive = jax.jit(make_score_step(run.model, run.plan, run.losses))
    return Tiny(run, state, given, Passes(run, state, given), naive)


def inputs_of(model):
    """What the model of a run reads of its rows."""
    plan, b = model.run.plan, jax.tree.map(jnp.asarray, model.rows)
    gathered = lookup.gather(
        model.state.tables, lookup.row_ids(plan, b), exchange.look_ups(plan, None)
    )
    return lookup.to_inputs(plan, gathered, b)
