"""A model's program made anew, from its folder alone: no workdir, no data.

StableHLO expires with JAX (180 days of backward compatibility), config and weights do not. A
plug-in's code is no part of the folder: it is given, and must be the file of the manifest's hash.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping

import jax
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.config import base_config, checked_config, flatten
from dtn_jax.config.built import told_as_built
from dtn_jax.config.plugins import use
from dtn_jax.errors import UserError, choose
from dtn_jax.export import model_folder
from dtn_jax.export.compiled import read_weights
from dtn_jax.export.model_folder import MODEL, Facts
from dtn_jax.export.write.folder import new_folder
from dtn_jax.export.write.model import program_facts
from dtn_jax.export.write.program import TABLE_DTYPES, Forward, export_program
from dtn_jax.files import full_path, sha256
from dtn_jax.losses import read_losses
from dtn_jax.models import build as architectures
from dtn_jax.run.run import build_model
from dtn_jax.schema import Schema
from dtn_jax.tables.plan import make_plan


def make_again(
    model: str | pathlib.Path, plugins: str = "", say: Callable[[str], None] = print
) -> pathlib.Path:
    """Makes the program of a model's folder anew; every other file but the manifest stays.

    The folder is replaced at once. Nothing that it names is imported or run.

    Args:
      model: the folder.
      plugins: the plug-ins that the model needs, by comma.
      say: is told what is being done.

    Raises:
      UserError: the folder is damaged, plug-ins are missing or others, or this version builds
        another model of its config.
    """
    folder = full_path(model)
    manifest, forward = read_forward(folder, plugins)
    old, before = model_folder.model_id(folder), manifest.get("program") or {}
    with new_folder(folder, replace=True) as made:
        shutil.copytree(folder, made, copy_function=_link, dirs_exist_ok=True)
        (made / model_folder.PROGRAM).unlink()
        (made / model_folder.MANIFEST).unlink()
        say(f"The program of {folder}, for every batch size on CPUs, GPUs and TPUs")
        program, weights = export_program(forward)
        (made / model_folder.PROGRAM).write_bytes(program)
        stored = read_weights(folder / model_folder.WEIGHTS)
        for name, leaf in weights.items():
            expected = (leaf.shape, leaf.dtype.name)
            there = (stored[name].shape, stored[name].dtype.name) if name in stored else "missing"
            if there != expected:
                raise UserError(
                    f"{folder / model_folder.WEIGHTS} has {name!r} as {there}, this version of "
                    f"dtn_jax needs {expected}: it builds another model than the one that was "
                    "trained"
                )
        kept = {name: manifest.get(name) for name in ("made", "data", "plugins")}
        model_folder.write_manifest(made, kept | program_facts())
    say(
        f"Done: the program is of JAX {jax.__version__}, it was of "
        f"{before.get('jax', 'an unknown version')}. The model's id, by which a server names it, "
        f"is {model_folder.model_id(folder)}, it was {old}"
    )
    return folder


def read_forward(folder: pathlib.Path, plugins: str) -> tuple[dict, Forward]:
    """The manifest of a model's folder, and the forward pass that its files describe.

    Raises:
      UserError: see `make_again`.
    """
    manifest = model_folder.read_manifest(folder)
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    try:
        check_plugins(folder, manifest, plugins)
        return manifest, forward_of(config_of(folder, facts, plugins), facts, schema)
    except (TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder} is damaged ({reason}); {model_folder.AGAIN}") from None


def check_plugins(folder: pathlib.Path, manifest: Mapping, plugins: str) -> None:
    """Raises UserError unless these are the plug-ins of the manifest; nothing is run."""
    paths = [pathlib.Path(p.strip()).expanduser() for p in plugins.split(",") if p.strip()]
    given = {sha256(path): path.name for path in paths}
    wanted = {own["sha256"]: own["name"] for own in manifest.get("plugins") or ()}
    for sha in wanted.keys() - given.keys():
        got = ", ".join(f"{name} with {own[:12]}" for own, name in given.items()) or "none"
        raise UserError(
            f"{folder} needs the plug-in {wanted[sha]} with the SHA-256 {sha[:12]}, whose code it "
            f"does not hold: give it by --plugins=FILE,... (it is run). Got {got}"
        )
    for sha in given.keys() - wanted.keys():
        raise UserError(f"{folder} knows no plug-in {given[sha]}: leave it out")


def config_of(folder: pathlib.Path, facts: Facts, plugins: str) -> FrozenConfigDict:
    """The config of a model: its options over this version's defaults."""
    config = ConfigDict(base_config().to_dict()).lock()
    if plugins:
        use(config, plugins)
    stored = {key: value for key, value in facts.config.items() if key != "plugins"}
    if unknown := stored.keys() - flatten(config).keys():
        raise UserError(
            f"{folder / MODEL} has options that this version does not know: "
            f"{', '.join(sorted(unknown))}"
        )
    lists = {key: tuple(value) for key, value in stored.items() if isinstance(value, list)}
    config.update_from_flattened_dict(stored | lists)
    return checked_config(config)


def forward_of(config: FrozenConfigDict, facts: Facts, schema: Schema) -> Forward:
    """The forward pass that the files of a model describe."""
    tasks = schema.task_names
    if facts.all_tasks:
        text = json.dumps(json.loads(schema.to_json()) | {"tasks": facts.all_tasks})
        schema = Schema.from_json(text)
    with told_as_built(config, traced=True):
        views = architectures.views(config.model, schema)
        codebooks = architectures.codebooks(config.model, schema)
        model = build_model(config, schema)
        plan = make_plan(schema, config.model, views, codebooks, "cpu")
        losses = read_losses(config.loss, schema)
    choose("dtype of tables", facts.table_dtype, TABLE_DTYPES)
    if not facts.members:
        raise UserError(f"{MODEL} is damaged: it has no members")
    if (plan.offsets, plan.used["embedding"]) != (facts.offsets, facts.rows):
        raise UserError(
            f"{MODEL} is damaged: its tables begin elsewhere than those of its config and schema"
        )
    return Forward(model, plan, tasks, losses, facts.table_dtype, len(facts.members))


def _link(path: str, to: str) -> None:
    """Puts a file to another place of the same file system."""
    try:
        os.link(path, to)
    except OSError:  # a file system without links
        shutil.copyfile(path, to)
