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
from dtn_jax.export.model_folder import Facts
from dtn_jax.export.write.described import all_versions, plugins_of, program_facts
from dtn_jax.export.write.model import write_program
from dtn_jax.export.write.new_folder import new_folder
from dtn_jax.export.write.program import TABLE_DTYPES, Forward
from dtn_jax.export.write.weights import stored_shapes
from dtn_jax.losses import read_losses
from dtn_jax.models import build as architectures
from dtn_jax.run import build_model
from dtn_jax.schema import Schema
from dtn_jax.shared_files import full_path
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
    manifest = model_folder.read_manifest(folder)
    old = model_folder.model_id(folder)
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    stored = stored_shapes(folder / model_folder.WEIGHTS)
    if not 0 < len(facts.members) <= len(stored):
        raise UserError(f"{folder / model_folder.MODEL} is damaged: {len(facts.members)} members")
    try:
        config = config_of(folder, facts, manifest, plugins)
        forward = forward_of(config, facts, schema)
    except (TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder} is damaged ({reason}); {model_folder.AGAIN}") from None
    with new_folder(folder, replace=True) as made:
        for path in sorted(folder.rglob("*")):
            _link(path, made / path.relative_to(folder))
        (made / model_folder.PROGRAM).unlink()
        (made / model_folder.MANIFEST).unlink()
        say(f"The program of {folder}, for every batch size on CPUs, GPUs and TPUs")
        read = write_program(made, forward)
        _check_weights(folder, read, stored)
        told = {name: manifest.get(name) for name in ("made", "data", "plugins")}
        told |= {"program": program_facts(model_folder.now()), "versions": all_versions()}
        model_folder.write_manifest(made, told)
    before = (manifest.get("program") or {}).get("jax", "an unknown version")
    say(
        f"Done: the program is of JAX {jax.__version__}, it was of {before}. The model's id, by "
        f"which a server names it, is {model_folder.model_id(folder)}, it was {old}"
    )
    return folder


def config_of(
    folder: pathlib.Path, facts: Facts, manifest: Mapping, plugins: str
) -> FrozenConfigDict:
    """The config of a model: its options over this version's defaults."""
    config = ConfigDict(base_config().to_dict()).lock()
    wanted = {str(own["sha256"]): str(own["name"]) for own in manifest.get("plugins") or ()}
    if wanted and not plugins:
        raise UserError(
            f"{folder} needs the plug-ins {', '.join(wanted.values())}, whose code it does not "
            "hold: give --plugins=FILE,... (they are run)"
        )
    given = {own["sha256"]: own["name"] for own in plugins_of(_hashed(plugins))}
    for sha, name in wanted.items():
        if sha not in given:
            raise UserError(
                f"{folder} needs the plug-in {name} with the SHA-256 {sha[:12]}, got "
                f"{', '.join(f'{n} with {s[:12]}' for s, n in given.items())}"
            )
    if strange := [name for sha, name in given.items() if sha not in wanted]:
        raise UserError(f"{folder} knows no plug-in {strange[0]}: leave it out")
    if plugins:
        use(config, plugins)
    known, stored = flatten(config), {k: v for k, v in facts.config.items() if k != "plugins"}
    if unknown := [key for key in stored if key not in known]:
        raise UserError(
            f"{folder / model_folder.MODEL} has options that this version does not know: "
            f"{', '.join(unknown)}"
        )
    try:
        config.update_from_flattened_dict(
            {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{folder / model_folder.MODEL} is damaged ({error})") from None
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
    if (plan.offsets, plan.used["embedding"]) != (facts.offsets, facts.rows):
        raise UserError(
            "model.json is damaged: its tables begin elsewhere than those of its config and schema"
        )
    return Forward(model, plan, tasks, losses, facts.table_dtype, len(facts.members))


def _hashed(plugins: str) -> str:
    """'FILE,FILE' as 'FILE#SHA256,…'; nothing is run."""
    paths = [pathlib.Path(p.strip()).expanduser() for p in plugins.split(",") if p.strip()]
    for path in paths:
        if not path.is_file():
            raise UserError(f"plug-in {path} is not there")
    return ",".join(f"{path}#{model_folder.sha256(path)}" for path in paths)


def _check_weights(folder: pathlib.Path, read: Mapping, stored: Mapping) -> None:
    """Raises UserError unless the file of weights has all that the program reads."""
    for name, leaf in read.items():
        expected = (tuple(leaf.shape), leaf.dtype.name)
        if stored.get(name) != expected:
            raise UserError(
                f"{folder / model_folder.WEIGHTS} has {name!r} as {stored.get(name)}, this version "
                f"of dtn_jax needs {expected}: it builds another model than the one that was "
                "trained"
            )


def _link(path: pathlib.Path, to: pathlib.Path) -> None:
    """Puts a file or a folder to another place of the same file system."""
    if path.is_dir():
        to.mkdir(parents=True)
        return
    try:
        os.link(path, to)
    except OSError:  # a file system without links
        shutil.copyfile(path, to)
