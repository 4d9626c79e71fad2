"""A chunk of training steps on given devices, compiled from shapes alone, and what can be read off
the compiled program: memory of a device, and what its collectives carry."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.parallel.mesh import Placement, make_placement, share_tables
from dtn_jax.parallel.per_device import on_each_device
from dtn_jax.schema import Schema
from dtn_jax.state import State, create_state
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables.plan import TablePlan, make_plan
from experiments.benchmarks.exchanged import Collective
from experiments.benchmarks.hlo.collectives import read_collectives
from experiments.benchmarks.hlo.text import read_program

SIMULATED = 8  # devices, where a suite needs several


@dataclasses.dataclass(frozen=True)
class Program:
    """The training of a config on a schema, placed on devices.

    Attributes:
      by_hand: rows travel as `exchange` has it; False leaves even the tables to XLA's own
        partitioning, with all arrays placed the same.
    """

    config: ConfigDict
    schema: Schema
    by_hand: bool = True

    @property
    def model(self):
        config = self.config
        scale = config.optim.table_init
        return architectures.build(config.model, self.schema, config.train.remat, table_init=scale)

    @property
    def tables(self) -> TablePlan:
        model = self.config.model
        views = architectures.views(model, self.schema)
        codebooks = architectures.codebooks(model, self.schema)
        return make_plan(self.schema, model, views, codebooks, self.platform)

    @property
    def platform(self) -> str:
        """For which tables are laid out; also where more devices are planned than are there."""
        chosen = self.config.parallel.table_platform
        return jax.default_backend() if chosen == "auto" else chosen

    @property
    def at(self) -> Placement:
        return make_placement(self.config)

    @property
    def shared(self) -> tuple[TablePlan, Placement]:
        """Both know which tables every device has whole."""
        if not self.by_hand:
            return self.tables, self.at
        return share_tables(self.tables, self.at, self.config.data.batch_size)

    def create(self) -> State:
        return create_state(self.config, self.model, self.tables)

    def chunk_function(self) -> Callable:
        tables, at = self.shared
        mesh = at.table_mesh if self.by_hand else None
        step = make_train_step(self.config, self.model, tables, 1000, mesh)
        return make_train_chunk(step, CHUNK_STEPS)


def compile_from_shapes(program: Program) -> jax.stages.Compiled:
    """The program of a chunk; no array is made."""
    (_, at), function = program.shared, program.chunk_function()
    state = jax.eval_shape(program.create)
    chunk = chunk_shapes(program.schema, program.config.data.batch_size)
    if at.strategy == "pmap":
        n = at.mesh.size

        def split(a):
            steps, rows, *rest = a.shape
            return jax.ShapeDtypeStruct((steps, n, rows // n, *rest), a.dtype)

        compiled = on_each_device(function, list(at.mesh.devices.reshape(-1)))
        return compiled.lower(state, jax.tree.map(split, chunk), CHUNK_STEPS).compile()

    compiled = at.compile(function, state)
    chunk = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=at.chunk()), chunk
    )
    return compiled.lower(at.state_places(state), chunk, CHUNK_STEPS).compile()


def chunk_shapes(schema: Schema, batch_size: int) -> Batch:
    """Of a chunk's arrays `[CHUNK_STEPS, B, ...]`."""

    def shape(dtype, *rest):
        return jax.ShapeDtypeStruct((CHUNK_STEPS, batch_size, *rest), dtype)

    return Batch(
        ids=shape(jnp.int32, schema.slots),
        weights=shape(jnp.float32, schema.weighted_slots),
        numeric=shape(jnp.float32, schema.numbers),
        labels=shape(jnp.float32, len(schema.tasks)),
        label_mask=shape(jnp.bool, len(schema.tasks)),
        sample_weight=shape(jnp.float32),
        row_mask=shape(jnp.bool),
    )


def collectives(compiled: jax.stages.Compiled) -> list[Collective]:
    """Those of a step of one round, by a compiled chunk of steps: further rounds are a loop within
    the loop of steps; before it, the chunk's first batch is routed."""
    found = read_collectives(read_program(compiled.as_text()))
    return [one.collective for one in found if one.depth == 1]


def on_many_devices(
    module: str, measurements: Callable[[bool], Iterable[Mapping[str, Any]]], quick: bool
) -> list[dict[str, Any]]:
    """What `measurements(quick)` yields where there are SIMULATED devices.

    Where there are fewer, `python -m module` is run with that many simulated ones: it must call
    `print_lines(measurements)`.
    """
    if len(jax.devices()) >= SIMULATED:
        return [dict(m) for m in measurements(quick)]
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={SIMULATED}"
    done = subprocess.run(
        [sys.executable, "-m", module, *(["--quick"] if quick else [])],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def print_lines(measurements: Callable[[bool], Iterable[Mapping[str, Any]]]) -> None:
    """Prints what `measurements` yields as lines of JSON, for `on_many_devices`."""
    for one in measurements("--quick" in sys.argv[1:]):
        print(json.dumps(one), flush=True)
