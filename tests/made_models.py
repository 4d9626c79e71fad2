"""Small models without training: the folder that an export writes, with a program of a few sums."""

import dataclasses
import json
import pathlib
import tempfile
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jax import export
from safetensors.numpy import save_file

from dtn_jax.data.prepare import prepare
from dtn_jax.export import model_folder
from dtn_jax.export.model_folder import Facts
from dtn_jax.export.write.model import write_encoders as encoders_of
from dtn_jax.schema import Task

DIM = 3
FRAME = pl.DataFrame(  # what the encoders are fitted on
    {
        "word": ["a", "b", "a", "c", "b", "a"],
        "id": [1, 2, 3, 4, 5, 1],
        "size": [0, 1, 2, 3, 4, 5],
        "speed": [-1.0, 0.5, 0.0, 2.0, 1.0, -2.5],
        "tags": [["x", "y"], ["y"], [], ["z", "x"], ["x"], ["y", "z"]],
        "tags_weights": [[1.0, 0.5], [2.0], [], [1.0, 1.0], [0.1], [3.0, 1.0]],
        "vector": [[0.0, 1.0], [1.0, 1.0], [2.0, 0.5], [1.0, 3.0], [0.0, 0.0], [1.0, 2.0]],
    }
)
FIELDS = {
    "word": "{unknown: '?'}",
    "id": "{encoder: identity, size: 5}",
    "size": "{kind: numeric}",
    "speed": "{kind: numeric, encoder: standardise}",
    "tags": "{kind: bag, weights: tags_weights, pooling: mean}",
    "vector": "{kind: vector, length: 2}",
}
TASKS = """
  click:
  order: {space: click, also_report: [all], positives_outside: 1}
  stars: {kind: regression}
"""


def prepared(folder, train=FRAME, test=None, **fields):
    """The set of a frame; with these fields in place of those of their names."""
    test = train if test is None else test
    folder.mkdir()
    lines = [f"  {name}: {options}" for name, options in (FIELDS | fields).items()]
    text = "fields:\n" + "\n".join(lines) + f"\ntasks:{TASKS}split: {{by: column, column: of}}\n"
    (folder / "made.yaml").write_text(text)
    parts = {"train": train, "validation": train, "test": test.select(train.columns)}
    labels = [pl.lit(n).alias(name) for name, n in {"click": 1, "order": 0, "stars": 2.5}.items()]
    rows = [rows.with_columns(*labels, of=pl.lit(split)) for split, rows in parts.items()]
    return prepare(folder / "made.yaml", pl.concat(rows, how="vertical_relaxed"), folder)


def logits_of(weights, inputs):
    """The program: `[B, T]`, numpy in, numpy out, and so for JAX."""
    table = weights["tables/embedding"]
    xp = np if isinstance(table, np.ndarray) else jnp
    rows = inputs["rows"]
    there = (rows < table.shape[0])[..., None]
    found = table[xp.minimum(rows, table.shape[0] - 1)].astype(xp.float32)
    if "tables/embedding.scale" in weights:
        scale = weights["tables/embedding.scale"]
        found = found * scale[xp.minimum(rows, table.shape[0] - 1)]
    total = xp.where(there, found, 0).sum(axis=(1, 2)) @ weights["params/tower"]
    padding = (inputs["ids"] < 0).sum(axis=1)[:, None] * weights["params/padding"][None]
    both = [inputs[name] @ weights[f"params/{name}"] for name in ("weights", "numeric")]
    return (total + both[0] + both[1] + padding).astype(xp.float32)


def inputs_of(weights, inputs):
    """Another program: what it is given, `[B, L + W + N]`."""
    return jnp.concatenate(
        [inputs[name].astype(jnp.float32) for name in ("ids", "weights", "numeric")], axis=1
    )


def write_model(
    folder, schema, write_encoders, views=1, dtype="float32", logits=logits_of, **changes
):
    """Fills a folder; `write_encoders(folder)` fills its `encoders/`. Returns the weights."""
    folder.mkdir(parents=True)
    (folder / model_folder.ENCODERS).mkdir()
    write_encoders(folder / model_folder.ENCODERS)
    draw, tasks = np.random.default_rng(0), len(schema.tasks)
    starts, offsets = 0, []
    for _ in range(views):
        first = {}
        for table, rows in schema.tables().items():
            first[table], starts = starts, starts + rows
        offsets.append(tuple(first[f.table] for f in schema.slot_fields()))
    shapes = {"tower": DIM, "weights": schema.weighted_slots, "numeric": schema.numbers}
    weights = {
        f"params/{name}": draw.normal(size=(n, tasks)).astype(np.float32)
        for name, n in shapes.items()
    }
    weights["params/padding"] = draw.normal(size=tasks).astype(np.float32)
    table = draw.normal(size=(starts, DIM)).astype(np.float32)
    if dtype == "int8":
        weights["tables/embedding.scale"] = np.abs(table).max(axis=1, keepdims=True) / 127
        table = np.rint(table / weights["tables/embedding.scale"])
    weights["tables/embedding"] = table.astype(jnp.dtype(dtype))
    save_file(weights, folder / model_folder.WEIGHTS)
    (folder / model_folder.PROGRAM).write_bytes(program(weights, schema, views, logits))
    (folder / model_folder.SCHEMA).write_text(schema.to_json())
    (folder / model_folder.CALIBRATION).write_text("{}")
    facts = Facts(
        config={},
        members=({"seed": 0, "step": 1},),
        offsets=tuple(offsets),
        rows=starts,
        table_dtype=dtype,
        tasks=schema.task_names,
    )
    facts = dataclasses.replace(facts, **changes)
    (folder / model_folder.MODEL).write_text(json.dumps(dataclasses.asdict(facts)))
    made = {"program": {"made": model_folder.now(), "jax": jax.__version__}}
    model_folder.write_manifest(folder, made)
    return weights


def program(weights, schema, views, logits=logits_of):
    batch, rows = export.symbolic_shape("B, R")

    def shape(name, array):
        symbolic = (rows, *array.shape[1:]) if name.startswith("tables/") else array.shape
        return jax.ShapeDtypeStruct(symbolic, array.dtype)

    inputs = {
        "ids": ((batch, schema.slots), jnp.int32),
        "rows": ((batch, views, schema.slots), jnp.int32),
        "weights": ((batch, schema.weighted_slots), jnp.float32),
        "numeric": ((batch, schema.numbers), jnp.float32),
    }
    inputs = {name: jax.ShapeDtypeStruct(*found) for name, found in inputs.items()}
    with jax.numpy_rank_promotion("allow"):
        made = export.export(jax.jit(logits), platforms=("cpu", "cuda", "tpu"))
        exported = made({name: shape(name, a) for name, a in weights.items()}, inputs)
    return bytes(exported.serialize())


def frame_model(folder, train=FRAME, fields=MappingProxyType({}), **changes):
    """The folder of a model of a frame's set; with these fields in place of others."""
    with tempfile.TemporaryDirectory() as place:
        made = prepared(pathlib.Path(place) / "set", train, **fields)
        return log_model(made, folder, **changes)


def log_model(data, folder, **changes):
    """The folder of a model of a prepared log."""

    def write(place):
        place.rmdir()
        encoders_of(data, place)

    write_model(folder, changes.pop("schema", data.schema), write, **changes)
    return folder


def mirror_model(data, folder):
    """That of a model whose scores are a row's ids, weights and numbers, as they reach a program:
    `x0@all`, `x1@all`, …, one a slot."""
    schema = data.schema
    count = schema.slots + schema.weighted_slots + schema.numbers
    tasks = tuple(Task(f"x{n}", kind="regression") for n in range(count))
    schema = dataclasses.replace(schema, tasks=tasks)
    return log_model(data, folder, schema=schema, logits=inputs_of)


def read_by_program(batch, offsets, rows):
    """A program's inputs, of a batch; the offsets of views `[V, L]`; how many rows tables have."""
    ids, offsets = np.asarray(batch.ids), np.asarray(offsets, np.int32)
    return {
        "ids": ids,
        "rows": np.where(ids[:, None] < 0, rows, ids[:, None] + offsets[None]).astype(np.int32),
        "weights": np.asarray(batch.weights, np.float32),
        "numeric": np.asarray(batch.numeric, np.float32),
    }
