"""A model's program made again from its folder alone, or as ONNX: no workdir, no data.

StableHLO expires with JAX (180 days of backward compatibility), config and weights do not. A
plug-in's code is no part of the folder: it is given, and must be the file of the manifest's hash.

ONNX needs jax2onnx and an environment of its own, `make onnx`. The weights are within its file. Its
batch may have any size, unless jax2onnx (0.17) converts an operation of the model only where all
shapes are known.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import symbolic_shape
from jax.extend.core import jaxpr_as_fun
from ml_collections import ConfigDict

from dtn_jax.config import base_config, checked_config, flatten
from dtn_jax.config.plugins import told_as_built, use
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.model import Batches, first_line, read_weights
from dtn_jax.export.model_folder import MODEL, PROGRAM, WEIGHTS, Facts, new_folder
from dtn_jax.export.write.program import Forward, export_program, inputs_of, program_facts
from dtn_jax.field import SEVERAL
from dtn_jax.files import replacing, sha256
from dtn_jax.losses import read_losses
from dtn_jax.parallel.mesh import ON_ONE_CPU, make_placement
from dtn_jax.places import full_path
from dtn_jax.run.run import build_model_and_plan
from dtn_jax.schema import Schema

CLOSE = 1e-5  # by which ONNX' logits may differ from the program's, relative to the largest
TRIED = (64, 7)  # rows with which a file for any size is tried
OUTPUT = "logits"


def make_again(
    model: str | pathlib.Path, plugins: str = "", say: Callable[[str], None] = print
) -> pathlib.Path:
    """Makes the program of a model's folder again; every other file but the manifest stays.

    The folder is replaced at once. Nothing that it names is imported or run.

    Args:
      model: the folder.
      plugins: the plug-ins that the model needs, by comma.
      say: prints a line.

    Raises:
      UserError: the folder is damaged, plug-ins are missing or others, or this version builds
        another model of its config.
    """
    folder = full_path(model)
    manifest, forward = read_forward(folder, plugins)
    program, needed = export_program(forward)
    stored = read_weights(folder / WEIGHTS)
    for name, leaf in needed.items():
        if name not in stored or stored[name].shape != leaf.shape:
            raise UserError(
                f"{folder / WEIGHTS} has no {name!r} of shape {leaf.shape}: this version of "
                "dtn_jax builds another model than the one that was trained"
            )
    old = model_folder.model_id(folder)
    with new_folder(folder, replace=True) as new:
        shutil.copytree(folder, new, copy_function=os.link, dirs_exist_ok=True)
        (new / PROGRAM).unlink()
        (new / model_folder.MANIFEST).unlink()
        (new / PROGRAM).write_bytes(program)
        kept = {name: manifest.get(name) for name in ("made", "data", "plugins")}
        model_folder.write_manifest(new, kept | program_facts())
    say(
        f"Done: the program is of JAX {jax.__version__}. The model's id, by which a server names "
        f"it, is {model_folder.model_id(folder)}, it was {old}"
    )
    return folder


def read_forward(folder: pathlib.Path, plugins: str) -> tuple[dict, Forward]:
    """The manifest of a model's folder, and the forward pass that its files describe.

    Raises:
      UserError: see `make_again`.
    """
    manifest = model_folder.read_manifest(folder)
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    check_plugins(folder, manifest, plugins)
    with model_folder.reading(folder / MODEL):
        return manifest, _forward(facts, schema, plugins)


def check_plugins(folder: pathlib.Path, manifest: Mapping, plugins: str) -> None:
    """Raises UserError unless these are the plug-ins of the manifest; nothing is run."""
    paths = [pathlib.Path(p.strip()).expanduser() for p in plugins.split(",") if p.strip()]
    given = {sha256(path): path.name for path in paths}
    with model_folder.reading(folder / model_folder.MANIFEST):
        needed = {plugin["sha256"]: plugin["name"] for plugin in manifest.get("plugins") or ()}
    if needed.keys() != given.keys():
        sides = [", ".join(f"{n} with {sha[:12]}" for sha, n in d.items()) for d in (needed, given)]
        raise UserError(
            f"{folder} holds no code of plug-ins: give by --plugins=FILE,... those of its manifest "
            f"(they are run), by SHA-256 {sides[0] or 'none'}; got {sides[1] or 'none'}"
        )


def _forward(facts: Facts, schema: Schema, plugins: str) -> Forward:
    """The forward pass that the files of a model describe: its options over this version's
    defaults, its tasks, its tables."""
    config = ConfigDict(base_config().to_dict()).lock()
    if plugins:
        use(config, plugins)
    stored = {key: value for key, value in facts.config.items() if key != "plugins"}
    if unknown := sorted(stored.keys() - flatten(config).keys()):
        raise UserError(f"it has options that this version does not know: {', '.join(unknown)}")
    lists = {key: tuple(value) for key, value in stored.items() if isinstance(value, list)}
    config.update_from_flattened_dict(stored | lists)
    config.parallel.update(ON_ONE_CPU)
    config, tasks = checked_config(config), schema.task_names
    if facts.all_tasks:
        text = json.dumps(json.loads(schema.to_json()) | {"tasks": facts.all_tasks})
        schema = Schema.from_json(text)
    with told_as_built(config, traced=True):
        model, plan, _ = build_model_and_plan(config, schema, make_placement(config))
        losses = read_losses(config.loss, schema)
    if (plan.offsets, plan.used["embedding"]) != (facts.offsets, facts.rows):
        raise UserError("its tables are not those of its config and schema")
    return Forward(model, plan, tasks, losses, facts.table_dtype, len(facts.members))


# ---------------------------------------------------------------- ONNX


def write_onnx(
    model: str | pathlib.Path,
    out: str | pathlib.Path,
    batch_size: int = 0,
    plugins: str = "",
    say: Callable[[str], None] = print,
) -> float:
    """Writes the program of a model's folder as ONNX: `ids, rows, weights, numeric -> logits`.

    Inputs that the model has none of, as weights of bags, are no inputs of the file. The file is
    written only if ONNX Runtime gives the program's logits on random rows.

    Args:
      model: the folder.
      out: the file.
      batch_size: of the file's inputs; 0 for any, where jax2onnx can.
      plugins: see `make_again`.
      say: prints a line.

    Returns:
      By how much a logit differed at most, over the largest.

    Raises:
      UserError: jax2onnx is not there, the folder is damaged, or the logits differ.
    """
    try:
        import onnxruntime
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(
            f"ONNX needs jax2onnx and onnxruntime ({error}), in an environment of their own: "
            "`make onnx`, then .venv-onnx/bin/dtn-jax export --onnx=…"
        ) from None
    folder, out = full_path(model), full_path(out)
    manifest, forward = read_forward(folder, plugins)
    batches = Batches.open(folder, model_folder.read_facts(folder), manifest)

    def convert(path: pathlib.Path, batch: Any, tried: tuple[int, ...]) -> float:
        """Writes the file; returns by how much its logits are off, on batches of these sizes."""
        every = inputs_of(forward.plan, batch)
        shapes = {name: shape for name, shape in every.items() if 0 not in shape.shape[1:]}
        traced = _traced(forward, batches.placed, every, tuple(shapes))
        names = {"input_names": list(shapes), "output_names": [OUTPUT]}
        shapes = list(shapes.values())
        to_onnx(traced, shapes, return_mode="file", output_path=str(path), **names)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        errors = []
        for rows in tried:
            arrays = random_rows(forward, rows)
            given = batches.inputs(*arrays)
            (got,) = session.run([OUTPUT], {name: given[name] for name in names["input_names"]})
            expected = np.asarray(batches.call(*arrays))
            errors.append(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
        return float(max(errors))

    size, tried = batch_size or symbolic_shape("B")[0], (batch_size,) if batch_size else TRIED
    with replacing(out) as path:
        try:
            error = convert(path, size, tried)
        except Exception as raised:  # of jax2onnx, ONNX Runtime or JAX
            why = f"jax2onnx can't convert it ({first_line(raised)})"
            raise UserError(f"{why}; it may for one size: --batch_size=1024") from raised
        if not error <= CLOSE:
            raise UserError(f"ONNX Runtime's logits are off by {error:.2g}, more than {CLOSE}")
    sizes = f"{batch_size} rows: pad the last one" if batch_size else "any size"
    say(f"{out}: its logits are off by at most {error:.2g}, its batches have {sizes}")
    return error


def _traced(forward: Forward, weights: dict, every: dict, names: tuple[str, ...]) -> Callable:
    """The program as a function of the inputs of these names; the others are empty.

    It is a jaxpr: else jax2onnx puts its own operations in the place of many of JAX's and Flax's,
    and these do not go with all models.
    """

    def program(*inputs: jax.Array) -> jax.Array:
        rows = inputs[0].shape[0]
        empty = {name: jnp.zeros((rows, 0), every[name].dtype) for name in every}
        return forward(weights, empty | dict(zip(names, inputs)))

    traced = jaxpr_as_fun(jax.make_jaxpr(program)(*(every[name] for name in names)))
    return lambda *inputs: traced(*inputs)[0]


def random_rows(forward: Forward, rows: int) -> list[np.ndarray]:
    """Ids within their tables, some padding; weights; numbers."""
    rng, fields = np.random.default_rng(0), forward.plan.schema.slot_fields()
    ids = rng.integers(0, [field.rows for field in fields], (rows, len(fields))).astype(np.int32)
    bags = np.asarray([field.kind in SEVERAL for field in fields])
    ids[bags[None] & (rng.random(ids.shape) < 0.5)] = -1
    shapes = inputs_of(forward.plan, rows)
    return [ids, *(rng.random(shapes[n].shape, np.float32) for n in ("weights", "numeric"))]
