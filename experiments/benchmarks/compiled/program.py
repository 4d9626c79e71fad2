"""Compiles one cell, in a process of its own, and writes what the compiler made of it.

    python -m experiments.benchmarks.compiled.program CELL FOLDER

Nothing is allocated: state and batches are shapes with shardings. FOLDER gets CELL's record as
JSON and, where it compiled, its optimised HLO, both under the cell's `file_name`.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.losses import read_losses
from dtn_jax.optimizers import table_updater
from dtn_jax.parallel.mesh import Placement
from dtn_jax.step import make_score_step
from dtn_jax.tables.routed import AXES
from dtn_jax.tables.row_optimizers import Scalars
from dtn_jax.tables.stored_rows import numbers
from experiments.benchmarks import needs, programs
from experiments.benchmarks.compiled.cells import Cell, read_cell
from experiments.benchmarks.compiled.topologies import COMPILERS, described_devices

MEMORY = {
    "arguments": "argument_size_in_bytes",
    "outputs": "output_size_in_bytes",
    "aliased": "alias_size_in_bytes",
    "temporaries": "temp_size_in_bytes",
    "code": "generated_code_size_in_bytes",
    "peak": "peak_memory_in_bytes",
}
COSTS = ("flops", "bytes accessed")
LONGEST = 3000  # characters of a compiler's complaint


@dataclasses.dataclass(frozen=True)
class Described(programs.Program):
    """A program placed on devices that are described."""

    devices: Sequence[jax.Device] = ()

    @property
    def platform(self) -> str:
        return self.at.platform

    @property
    def at(self) -> Placement:
        strategy = self.config.parallel.strategy
        sharers = 1 if strategy == "pmap" else len(self.devices)
        grid = np.asarray(self.devices).reshape(-1, sharers)
        return Placement(Mesh(grid, AXES), strategy)


def main(cell: Cell, folder: pathlib.Path) -> None:
    devices = described_devices(cell.topology)
    program = Described(cell.config(len(devices)), cell.schema(), devices=devices)
    record = about(cell, program)
    start = time.monotonic()
    try:
        compiled = compile_cell(cell, program)
    except jax.errors.JaxRuntimeError as error:
        record["error"] = str(error)[:LONGEST]
    else:
        memory = compiled.memory_analysis()
        record["memory"] = {name: getattr(memory, key) for name, key in MEMORY.items()}
        cost = compiled.cost_analysis() or {}  # GPUs' compiler has none
        record["cost"] = {key: cost[key] for key in COSTS if key in cost}
        with gzip.open(folder / f"{cell.file_name}.hlo.gz", "wt") as file:
            file.write(compiled.as_text())
    record["seconds"] = time.monotonic() - start
    path = folder / f"{cell.file_name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.replace(path)  # last: where it is, the cell is done


def compile_cell(cell: Cell, program: Described) -> jax.stages.Compiled:
    compilers = {
        "train": programs.compile_from_shapes,
        "score": compile_score,
        "create": compile_create,
        "update": compile_update,
    }
    return compilers[cell.kind](program)


def compile_score(program: Described) -> jax.stages.Compiled:
    (tables, at), config = program.shared, program.config
    state = at.state_places(jax.eval_shape(program.create))
    chunk = programs.chunk_shapes(program.schema, config.data.eval_batch_size)
    batch = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype, sharding=at.batch()), chunk
    )
    losses = read_losses(config.loss, program.schema)
    score = make_score_step(program.model, tables, losses, at.table_mesh)
    return jax.jit(score, out_shardings=at.replicated()).lower(state, batch).compile()


def compile_create(program: Described) -> jax.stages.Compiled:
    shardings = program.shared[1].state(jax.eval_shape(program.create))
    return jax.jit(program.create, out_shardings=shardings).lower().compile()


def compile_update(program: Described) -> jax.stages.Compiled:
    """A chunk of look-ups and updates of ids that lie on the device that has them: no exchange.

    Gradients are the rows themselves plus given numbers, so that each row is read for use.
    """
    at, config = program.at, program.config
    update = table_updater(config.optim, at.platform).rows
    lie = program.tables.arrays["embedding"].split(at.mesh.shape["table"])
    each = config.data.batch_size // at.mesh.size * program.schema.slots

    def on_one_device(table, slots, ids, given):
        def step(i, state):
            table, slots = state
            rows = lie.take(table, ids[i])
            scalars = Scalars(jnp.float32(config.optim.table_learning_rate), jnp.float32(0), i)
            return update(lie, table, slots, ids[i], rows, numbers(rows) + given, scalars)

        return jax.lax.fori_loop(0, CHUNK_STEPS, step, (table, slots))

    state = at.state_places(jax.eval_shape(program.create))
    table, slots = state.tables["embedding"], state.slots["embedding"]
    here, by_row = PartitionSpec(None, AXES), PartitionSpec("table")
    run = jax.shard_map(
        on_one_device,
        mesh=at.mesh,
        in_specs=(by_row, by_row, here, PartitionSpec(AXES)),
        out_specs=(by_row, by_row),
        check_vma=False,  # it does not know all that an update calls
    )
    n = each * at.mesh.size
    ids = jax.ShapeDtypeStruct((CHUNK_STEPS, n), jnp.int32, sharding=at.chunk())
    given = jax.ShapeDtypeStruct((n, config.model.embedding_dim), jnp.float32, sharding=at.batch())
    return jax.jit(run, donate_argnums=(0, 1)).lower(table, slots, ids, given).compile()


def about(cell: Cell, program: Described) -> dict[str, Any]:
    """What the text of a compiled program must be read with."""
    n = len(program.devices)
    batch = program.config.data.batch_size
    asked = batch // n if cell.kind == "update" else batch
    own = needs.ids_of_device(program.tables, batch // n)
    record = {
        "cell": cell.name,
        "device": program.devices[0].device_kind,
        "devices": n,
        "versions": {d.name: d.version for d in metadata.distributions() if d.name in COMPILERS},
        "ids": {name: ids * asked // (batch // n) for name, ids in own.items()},
        "own ids": sum(own.values()),
        "batch's rows": sum(
            4 * n * ids * program.tables.arrays[name].width for name, ids in own.items()
        ),
        "tables": logical_tables(cell, program, 1 if cell.strategy == "pmap" else n),
        "arrays": stored_arrays(program),
    }
    if cell.kind == "train":
        predicted = needs.predict(program.config, program.model, program.tables, n)
        record["plan"] = {
            "held": predicted.memory.arguments,
            "temporaries": predicted.memory.temporaries,
            "carried": predicted.carried,
            "received": predicted.received,
        }
    return record


def logical_tables(cell: Cell, program: Described, sharers: int) -> dict[str, dict[str, float]]:
    """Of each packed table on a device: its rows, and the bytes that the numbers of rows and of
    their slots must take, however they lie."""
    item = 2 if cell.dtype == "bfloat16" else 4
    of_optimizer = {"adam": (8, 4), "adagrad": (0, 4), "sgd": (0, 0)}
    of_number, of_row = of_optimizer[cell.optimizer]  # bytes for each
    tables, _ = program.shared
    sizes = {"embedding": (sum(program.schema.tables().values()), tables.dim)}
    if tables.codebooks:
        sizes["codebook"] = (tables.codebook_rows, tables.codebooks * tables.dim)
    found = {}
    for name, (rows, width) in sizes.items():
        if cell.kind == "update" and name != "embedding":
            continue
        rows /= 1 if name in tables.everywhere else sharers
        slots = rows * (width * of_number + of_row)
        found[name] = {"rows": rows, "bytes": rows * width * item, "slot bytes": slots}
    return found


def stored_arrays(program: Described) -> list[dict[str, Any]]:
    """The arrays of tables and slots, as each device has them."""
    shapes = jax.eval_shape(program.create)
    shardings = program.shared[1].state(shapes)
    found = []
    for part in ("tables", "slots"):
        leaves = jax.tree_util.tree_leaves_with_path(getattr(shapes, part))
        for (path, leaf), where in zip(leaves, jax.tree.leaves(getattr(shardings, part))):
            if leaf.ndim:
                found.append(
                    {
                        "table": path[0].key,
                        "name": part + jax.tree_util.keystr(path),
                        "shape": where.shard_shape(leaf.shape),
                        "dtype": str(leaf.dtype),
                    }
                )
    return found


if __name__ == "__main__":
    main(read_cell(sys.argv[1]), pathlib.Path(sys.argv[2]))
