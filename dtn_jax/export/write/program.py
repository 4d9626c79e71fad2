"""The forward pass of a trained model as StableHLO, and its weights as safetensors.

It is the training code's own: look-up, pooling, normalisation and architecture as `step.py` scores
with them. Tables are arguments, so that the program is small and serves tables of any size.

weights.safetensors is written piece by piece: no table needs to fit into memory. Its format
(huggingface.co/docs/safetensors): 8 bytes, the length N of the header; N bytes of JSON,
{name: {"dtype", "shape", "data_offsets"}}, padded with spaces to a multiple of 8; then the numbers
of one array after another, little-endian, row-major, without gaps.

Letters: B batch, T tasks, V rows of the tables, D embedding width, M members of an ensemble.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import pathlib
import struct
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import linen as nn
from jax import export

import dtn_jax
from dtn_jax.export import model_folder
from dtn_jax.export.model import EMBEDDING, SCALE, read_weights
from dtn_jax.interface import Batch
from dtn_jax.losses.by_task import TaskLoss, predictions
from dtn_jax.report.versions import versions
from dtn_jax.run.state import example_inputs
from dtn_jax.shapes import Array, Float, Int8, Shaped
from dtn_jax.tables import lookup
from dtn_jax.tables.exchange import LookUp
from dtn_jax.tables.plan import TablePlan

PLATFORMS = ("cpu", "cuda", "tpu")
COLLECTIONS = {"params": "params", "batch_stats": "model_state"}  # {of flax: in names of weights}
TABLE_DTYPES = ("float32", "bfloat16", "int8")
DTYPES = {"float32": "F32", "bfloat16": "BF16", "int8": "I8", "float64": "F64"}
MOST = 127  # of int8, symmetric

Leaf = jax.ShapeDtypeStruct
Shapes = dict[str, Leaf]


@dataclasses.dataclass(frozen=True)
class Forward:
    """`(weights, inputs) -> logits`, as model_folder.py describes both.

    Attributes:
      model: of the run.
      plan: of its tables, as a CPU lays them out: a row a line.
      tasks: whose logits it gives, in this order; a regression's prediction in its label's unit.
      losses: of all tasks of the run, which know what a prediction is.
      table_dtype: of the stored tables, one of TABLE_DTYPES.
      members: M, whose mean probability it gives.
    """

    model: nn.Module
    plan: TablePlan
    tasks: tuple[str, ...]
    losses: Sequence[TaskLoss]
    table_dtype: str = "float32"
    members: int = 1

    @functools.cached_property
    def variables(self) -> dict:
        """{collection: shapes} of one member's variables."""

        def init():
            return self.model.init(jax.random.key(0), example_inputs(self.plan), train=False)

        return dict(jax.eval_shape(init))

    def weights(self) -> Shapes:
        """{name: shape and dtype} of all that it may read, tables without padding.

        Members of an ensemble have `0/params/…`, `1/params/…`; their tables lie side by side: row r
        of a table holds row r of each.
        """
        shapes = {}
        for collection, tree in self.variables.items():
            for name, leaf in named(COLLECTIONS[collection], tree).items():
                for member in range(self.members):
                    shapes[self.prefix(member) + name] = Leaf(leaf.shape, leaf.dtype)
        for table, rows in self.plan.used.items():
            width = self.members * self.plan.arrays[table].width
            shapes[f"tables/{table}"] = Leaf((rows, width), jnp.dtype(self.table_dtype))
            if self.table_dtype == "int8":
                shapes[f"tables/{table}{SCALE}"] = Leaf((rows, self.members), jnp.float32)
        return shapes

    def prefix(self, member: int) -> str:
        """Before the names of a member's parameters; '' where there is but one."""
        return f"{member}/" if self.members > 1 else ""

    def __call__(self, weights: Mapping[str, Array], inputs: Mapping[str, Array]) -> Array:
        """Logits `[B, T]`; of an ensemble those of its mean probability."""
        ids = inputs["ids"]
        batch = Batch(
            ids=ids,
            weights=inputs["weights"],
            numeric=inputs["numeric"],
            labels=None,
            label_mask=None,
            sample_weight=None,
            row_mask=jnp.ones(ids.shape[0], bool),
        )
        rows = {**lookup.row_ids(self.plan, batch), "embedding": inputs["rows"]}
        stored = {name: weights[f"tables/{name}"] for name in rows}
        scales = {name: weights.get(f"tables/{name}{SCALE}") for name in rows}
        look_ups = {name: self._look_up(name, scale) for name, scale in scales.items()}
        gathered = lookup.gather(stored, rows, look_ups)
        logits = [self._logits(m, weights, gathered, batch) for m in range(self.members)]
        return self._mean(jnp.stack(logits))

    def _look_up(self, name: str, scale: Array | None) -> LookUp:
        """`(table, ids [N]) -> rows [N, M D]` in float32; zeros for ids beyond the table.

        `scale` is that of the rows of an int8 table, `[V, M]`.
        """

        def rows(table: Array, ids: Array) -> Array:
            return table.at[ids].get(mode="fill", fill_value=0).astype(jnp.float32)

        def scaled(table: Array, ids: Array) -> Array:
            return rows(table, ids) * jnp.repeat(rows(scale, ids), self.plan.arrays[name].width, 1)

        return rows if scale is None else scaled

    def _logits(self, member: int, weights: Mapping, gathered: Mapping, batch: Batch) -> Array:
        """Of one member, `[B, T]`."""
        variables = {
            collection: _filled(tree, weights, self.prefix(member) + COLLECTIONS[collection])
            for collection, tree in self.variables.items()
        }
        rows = {}
        for name, every in gathered.items():
            width = self.plan.arrays[name].width
            rows[name] = every[..., member * width : (member + 1) * width]
        outputs = self.model.apply(variables, lookup.to_inputs(self.plan, rows, batch), train=False)
        logits = {t: outputs.logits[t].astype(jnp.float32) for t in self.tasks}
        losses = {chosen.task: chosen for chosen in self.losses}
        return predictions(logits, [losses[t] for t in self.tasks], batch.ids)

    def _mean(self, logits: Array) -> Array:
        """`[M, B, T] -> [B, T]`: the logit of the mean probability; a regression's mean."""
        if self.members == 1:
            return logits[0]
        kinds = {task.name: task.kind for task in self.plan.schema.tasks}
        binary = jnp.asarray([kinds[name] == "binary" for name in self.tasks])[None]
        yes, no = (jax.nn.logsumexp(jax.nn.log_sigmoid(z), axis=0) for z in (logits, -logits))
        return jnp.where(binary, yes - no, logits.mean(axis=0))


def named(prefix: str, tree: Mapping) -> dict:
    """{'prefix/a/b': leaf}"""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = {path: jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves}
    return {f"{prefix}/{names[path]}": leaf for path, leaf in leaves}


def inputs_of(plan: TablePlan, batch: object) -> Shapes:
    """{name: shape and dtype} of a program's inputs; `batch` may be symbolic."""
    schema = plan.schema
    shapes = {
        "ids": ((batch, schema.slots), jnp.int32),
        "rows": ((batch, len(plan.views), schema.slots), jnp.int32),
        "weights": ((batch, schema.weighted_slots), jnp.float32),
        "numeric": ((batch, schema.numbers), jnp.float32),
    }
    return {name: Leaf(*shape) for name, shape in shapes.items()}


def export_program(forward: Forward) -> tuple[bytes, Shapes]:
    """The program for every batch size and platform, and the weights that it reads."""
    weights = forward.weights()
    batch, rows = export.symbolic_shape("B, R")

    given = dict(weights)
    for name in weights.keys() & {EMBEDDING, EMBEDDING + SCALE}:
        given[name] = Leaf((rows, *weights[name].shape[1:]), weights[name].dtype)
    exporter = export.export(jax.jit(forward.__call__), platforms=PLATFORMS)
    return bytes(exporter(given, inputs_of(forward.plan, batch)).serialize()), weights


def _filled(tree: Mapping, weights: Mapping[str, Array], prefix: str) -> dict:
    """A collection of variables."""
    return jax.tree.structure(tree).unflatten(weights[name] for name in named(prefix, tree))


def program_facts() -> dict:
    """What the manifest says of a program that is made now."""
    program = {"made": model_folder.now(), "jax": jax.__version__, "platforms": list(PLATFORMS)}
    return {"program": program, "versions": {"dtn_jax": dtn_jax.__version__, **versions()}}


# ---------------------------------------------------------------- weights


def write_weights(
    path: pathlib.Path,
    shapes: Shapes,
    dense: Mapping[str, jax.Array | np.ndarray],
    tables: Mapping[str, Sequence[Iterable[np.ndarray]]],
) -> None:
    """Writes the weights of a program.

    Args:
      path: of the file.
      shapes: of all of them.
      dense: {name: array} of all parameters and statistics.
      tables: {name of a table: for each member its rows, piece by piece}; as they are stored, so
        uint16 are the bits of bfloat16.

    Raises:
      ValueError: a table has fewer rows than its shape says.
    """
    header, end = {}, 0
    for name in sorted(shapes, key=lambda name: (-shapes[name].dtype.itemsize, name)):
        leaf, start = shapes[name], end
        end += math.prod(leaf.shape) * leaf.dtype.itemsize
        dtype = DTYPES[leaf.dtype.name]
        header[name] = {"dtype": dtype, "shape": leaf.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, 8 + len(text) + end)  # or a full disk ends the process
    stored = read_weights(path, "r+")
    for name in shapes.keys() - tables.keys():
        if not name.endswith(SCALE):
            stored[name][...] = np.asarray(dense[name])
    for name, members in tables.items():
        width = stored[name].shape[1] // len(members)
        for member, pieces in enumerate(members):
            columns, stop = slice(member * width, (member + 1) * width), 0
            for rows in map(as_float32, pieces):
                at = slice(stop, stop := stop + len(rows))
                if shapes[name].dtype == np.int8:
                    rows, stored[f"{name}{SCALE}"][at, member] = quantised(rows)
                stored[name][at, columns] = rows
            if stop != len(stored[name]):
                raise ValueError(f"{name} has {stop} rows, expected {len(stored[name])}")


def as_float32(rows: Shaped[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Rows as they are stored (see tables/stored_rows.py) as the numbers that they mean."""
    if rows.dtype == np.uint16:
        rows = rows.view(ml_dtypes.bfloat16)
    return rows.astype(np.float32, copy=False)


def quantised(
    rows: Float[np.ndarray, "N D"],
) -> tuple[Int8[np.ndarray, "N D"], Float[np.ndarray, " N"]]:
    """Whole numbers q in [-127, 127] and a scale s a row, the largest magnitude / 127.

    q s is the nearest such number to each; so it is off by at most s / 2.
    """
    scales = (np.abs(rows).max(axis=1, initial=0) / MOST).astype(np.float32)
    steps = np.rint(rows / np.where(scales == 0, 1, scales)[:, None])
    return np.clip(steps, -MOST, MOST).astype(np.int8), scales
