"""The pytree that a run is, and how it begins."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.balancing import read_balancer, seam
from dtn_jax.interface import SHARED, Batch, Inputs
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import check_outputs
from dtn_jax.run import optimizers
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Float, Int
from dtn_jax.tables import lookup
from dtn_jax.tables.plan import TablePlan, init_tables
from dtn_jax.tables.stored_rows import to_bits
from dtn_jax.tables.updater import table_updater

WEIGHTS = ("params", "model_state", "tables")  # what a model is, of a state's parts


@flax.struct.dataclass
class State:
    """Everything that a step reads and writes.

    Attributes:
      step: steps done.
      key: the run's key; a step draws from `fold_in(key, step)`.
      params: dense parameters, and under `balancing` those of a balancer that learns; with
        `train.average` their moving average.
      model_state: normalisation statistics.
      opt_state: optax state of the dense parameters.
      tables: packed embedding tables and codebooks.
      slots: the row optimizer's arrays, per table.
      hyper: traced scalars.
      iterate: with `train.average`, what the optimizer steps: see optimizers.py; else {}.
      balancing: what a balancer keeps from step to step and no optimizer moves; else {}.
    """

    step: Int[Array, ""]
    key: Array
    params: Any
    model_state: Any
    opt_state: Any
    tables: dict[str, Array]
    slots: dict[str, Any]
    hyper: optimizers.Hyper
    iterate: dict[str, Any] = flax.struct.field(default_factory=dict)
    balancing: Any = flax.struct.field(default_factory=dict)

    def to_train(self) -> State:
        """With the dense parameters at which gradients are taken."""
        return self.replace(params=self.iterate["params"]) if self.iterate else self

    def to_score(self) -> State:
        """Without what only training needs: the optimizers' arrays, and the balancer's."""
        return self.replace(opt_state={}, slots={}, iterate={}, balancing={})


def example_batch(schema: Schema, batch_size: int, grouped: bool = False) -> Batch:
    """A batch of unknown ids and zeros, for shapes; one that trains may have groups."""
    tasks = len(schema.tasks)
    return Batch(
        ids=jnp.zeros((batch_size, schema.slots), jnp.int32),
        weights=jnp.ones((batch_size, schema.weighted_slots)),
        numeric=jnp.zeros((batch_size, schema.numbers)),
        labels=jnp.zeros((batch_size, tasks)),
        label_mask=jnp.ones((batch_size, tasks), bool),
        sample_weight=jnp.ones(batch_size),
        row_mask=jnp.ones(batch_size, bool),
        loss_weight=jnp.ones(batch_size) if schema.loss_weight else None,
        group=jnp.zeros((batch_size, 2), jnp.int32) if grouped else None,
    )


def example_inputs(plan: TablePlan, batch_size: int = 1) -> Inputs:
    """Inputs of zeros, for shapes."""
    batch = example_batch(plan.schema, batch_size)
    rows = lookup.row_ids(plan, batch)
    gathered = {
        name: jnp.zeros((*ids.shape, plan.arrays[name].width)) for name, ids in rows.items()
    }
    return lookup.to_inputs(plan, gathered, batch)


class Numbers(NamedTuple):
    """What the first states of a search's trials differ in: numbers, never shapes.

    They are arguments of the program that draws a state, so that all trials share it. As constants
    they would make each trial compile its own.
    """

    key: Array
    table_init: Float[Array, ""] | float
    hyper: optimizers.Hyper


def read_numbers(config: ConfigDict, schema: Schema) -> Numbers:
    """A config's Numbers."""
    hyper = optimizers.hyper(config, schema)
    return Numbers(jax.random.key(config.seed), config.optim.table_init, hyper)


def create_state(
    config: ConfigDict, model: nn.Module, plan: TablePlan, numbers: Numbers | None = None
) -> State:
    """The state at step 0; a pure function of config and data set.

    Args:
      config: of the run.
      model: of the config.
      plan: where the tables' rows lie.
      numbers: those of the config, traced; None reads them from it.

    Raises:
      UserError: the architecture does not return what it must.
    """
    optim = config.optim
    key, table_init, hyper = numbers or read_numbers(config, plan.schema)
    weights_key, tables_key, run_key = jax.random.split(key, 3)
    outputs, variables = model.init_with_output(weights_key, example_inputs(plan), train=False)
    check_outputs(outputs, read_losses(config.loss, plan.schema))
    balancer = read_balancer(config.loss, plan.views, SHARED)
    params = seam.with_learned(variables["params"], balancer, plan.schema.tasks)
    tables = init_tables(plan, tables_key, table_init, optim.codebook_init)
    init_slots = table_updater(optim, plan.platform).init
    slots = {name: init_slots(table, plan.arrays[name]) for name, table in tables.items()}
    if optim.table_dtype == "bfloat16":
        tables = jax.tree.map(to_bits, tables)
    return State(
        step=jnp.zeros((), jnp.int32),
        key=run_key,
        params=params,
        model_state=variables.get("batch_stats", {}),
        opt_state=optimizers.dense_directions(optim).init(params),
        tables=tables,
        slots=slots,
        hyper=hyper,
        iterate={"params": params, "weight": jnp.zeros(())} if config.train.average else {},
        balancing=seam.first_state(balancer, plan.schema.tasks),
    )
