"""A run that starts from the last state of another one: `train.start_from`.

Dense parameters, tables and normalisation statistics are the other run's, and so are the optimizer
states where `train.start_from_optimizer` says so. Rows of ids that the other run's data set does
not have are those that a new run would begin with. Rates, task weights, dropout and the key of all
draws are this run's own; `state.step` counts on, so that no draw comes twice. A moving average
(`train.average`) counts on with the optimizers' states, where the other run has one; else the run
begins it anew, at the parameters that the other one scores with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from dtn_jax.config import differing, identity
from dtn_jax.config.identity import shown
from dtn_jax.errors import UserError
from dtn_jax.files import Damaged, full_path
from dtn_jax.models import build as architectures
from dtn_jax.parallel.mesh import share_tables
from dtn_jax.run import checkpoint, outcome
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import Run, Started, build_model
from dtn_jax.run.state import State
from dtn_jax.schema import Schema
from dtn_jax.tables import known_rows
from dtn_jax.tables.plan import TablePlan, make_plan

FREE = ("model.dropout", "model.embedding_dropout")  # options of the model that may differ
SAME = ("optim.table_dtype", "loss.tasks", "loss.balancing")  # beside the model's, may not
OF_OPTIMIZERS = ("optim.tables",)  # nor these, where optimizer states are taken over
GROWING = "ages"  # a parameter with a row for each slot of a history and one more: BST's


def started(run: Run, workdir: str | pathlib.Path) -> Run:
    """The run, with what it starts from, if it does.

    A run that has begun knows it from its own folder, whatever has become of the other one.

    Raises:
      UserError: the other run is not there, is not finished, is damaged or is too different.
    """
    if not run.config.train.start_from:
        return run
    own, folder = full_path(workdir), full_path(run.config.train.start_from)
    stored = own / "config.json"
    begun = outcome.run_facts(own).get("started_from") if stored.is_file() else None
    if own == folder:
        raise UserError(f"train.start_from={folder} is this run's own workdir; name another one")
    return dataclasses.replace(run, started=Started(**begun) if begun else find(run, folder))


def find(run: Run, folder: pathlib.Path) -> Started:
    """What a run starts from that starts from the run in a folder; raises as `started`."""
    told = f"train.start_from={folder}"
    if not (folder / "config.json").is_file():
        replicas = sorted(p.parent.name for p in folder.glob("replica_*/config.json"))
        hint = f": name one of its replicas, {', '.join(replicas)}" if replicas else ""
        raise UserError(f"{told} holds no run; expected the workdir of a finished run{hint}")
    results = outcome.read(folder)
    if results is None:
        raise UserError(
            f"{told}: that run is not finished (no results.json); the command that began it goes "
            "on with it"
        )
    facts = outcome.run_facts(folder)
    _check_config(told, facts["config"], run.config)
    _check_data(told, facts["data"], run)
    first = facts.get("started_from", {}).get("step", 0)
    return Started(str(folder), int(first) + results["steps"], facts["data"])


def first_state(run: Run) -> State:
    """The state at this run's step 0, on the devices.

    The other run's tables are read one packed array at a time, and lie beside those of this run.

    Raises:
      UserError: the other run has changed since this one began, or its checkpoint is gone or
        damaged.
    """
    folder = pathlib.Path(run.started.workdir)
    if find(run, folder) != run.started:
        raise UserError(f"{folder} is another run than when this one began; name another workdir")
    old = _older(run, Schema.from_json((folder / "schema.json").read_text()))
    with contextlib.closing(Checkpoints(folder, old.plan)) as checkpoints:
        steps = sorted(checkpoints.last.all_steps())
        step = outcome.read(folder)["steps"]
        path = checkpoints.folder / "last" / str(step)
        if step not in steps:
            raise UserError(f"train.start_from: {path}, the last state of that run, is not there")

        def read(part: dict) -> dict:
            do = functools.partial(checkpoints.arrays_in, path, part, part=True)
            try:
                return checkpoint.read(path, do)
            except Damaged as error:
                raise UserError(f"train.start_from: {error}; restore it from a copy") from None

        had = bool(outcome.run_facts(folder)["config"]["train"].get("average"))
        return _taken(run, old, read, had)


def _taken(run: Run, old: Run, read, had: bool) -> State:
    """A new state with what `read(a part of the old state's places)` gives; `had` an average."""
    state, like = jax.block_until_ready(run.new_state()), old.state_places
    optimizer = run.config.train.start_from_optimizer
    of_optimizer = ("opt_state", "iterate") if had else ("opt_state",)
    names = ("step", "params", "model_state", "balancing", *(of_optimizer if optimizer else ()))
    dense = read({name: part for name in names if (part := getattr(like, name)) != {}})
    if int(dense["step"]) != run.started.step:
        raise UserError(
            f"train.start_from: the last state of {run.started.workdir} is of step "
            f"{int(dense['step'])}, expected {run.started.step}"
        )
    own = {name: getattr(state, name) for name in dense}
    dense = jax.tree_util.tree_map_with_path(_grown, own, dense)
    if state.iterate and "iterate" not in dense:
        dense["iterate"] = state.iterate | {"params": jax.tree.map(jnp.copy, dense["params"])}
    rows = {part: dict(getattr(state, part)) for part in ("tables", "slots")[: 1 + optimizer]}
    same = old.schema.tables() == run.schema.tables()
    for part, arrays in rows.items():
        for name, own in arrays.items():
            for array in jax.tree.leaves(own) if same else ():
                array.delete()  # before the other one is read
            known = read({part: {name: getattr(like, part)[name]}})[part][name]
            arrays[name] = known if same else _put(own, known, run.plan, old.plan, name)
    return state.replace(**dense, **rows)


def _put(own: Any, known: Any, plan: TablePlan, old: TablePlan, name: str) -> Any:
    """A packed array, or what an optimizer keeps for it, with the known rows."""
    lies = plan.arrays[name], old.arrays[name], known_rows.parts(old, plan, name)

    def put(a: jax.Array, b: jax.Array) -> jax.Array:
        if not a.ndim:
            return b
        do = functools.partial(known_rows.put, lie=lies[0], was=lies[1], places=lies[2])
        return jax.jit(do, donate_argnums=0, out_shardings=a.sharding)(a, b)

    return jax.tree.map(put, own, known)


def _grown(path: tuple, own: jax.Array, known: jax.Array) -> jax.Array:
    """The known array; where histories have become longer, with the further rows of `own`."""
    if own.shape == known.shape:
        return known
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if not name.endswith(GROWING) or len(known) > len(own):
        raise UserError(
            f"train.start_from: {name} is {list(known.shape)} there, expected {list(own.shape)}"
        )
    put = jax.jit(lambda a, b: a.at[: len(b)].set(b), out_shardings=own.sharding)
    return put(own, known)


def _older(run: Run, schema: Schema) -> Run:
    """This run's model and tables on the other run's data set."""
    views = architectures.views(run.config.model, schema)
    codebooks = architectures.codebooks(run.config.model, schema)
    plan = make_plan(schema, run.config.model, views, codebooks, run.plan.platform)
    plan, at = share_tables(plan, run.at, run.config.data.batch_size)
    model = build_model(run.config, schema)
    return dataclasses.replace(run, schema=schema, model=model, plan=plan, at=at)


def _check_config(told: str, there: dict, config: FrozenConfigDict) -> None:
    """Raises UserError where the other run's state is no state of this run."""
    there, here = identity(there), identity(config)
    same = (*SAME, *(OF_OPTIMIZERS if config.train.start_from_optimizer else ()))
    others = [
        key
        for key in differing(there, here)
        if key in same or (key.startswith("model.") and key not in FREE)
    ]
    if others:
        hint = "; or set train.start_from_optimizer=False" if {*others} <= {*OF_OPTIMIZERS} else ""
        message = f"{told} has another model or other tables; expected the same options{hint}"
        raise UserError(f"{message}\n{shown(others, there, here)}")


def _check_data(told: str, there: str, run: Run) -> None:
    """Raises UserError unless the data set is the other run's, or extends it."""
    chain = [run.data.fingerprint, *(one["fingerprint"] for one in run.data.extends)]
    if there not in chain:
        older = ", ".join(f"{one['name']} {one['fingerprint'][:12]}" for one in run.data.extends)
        raise UserError(
            f"{told} was trained on another data set, fingerprint {there[:12]}; expected that of "
            f"this run, {run.data.fingerprint[:12]}, or one that this extends: {older or 'none'}. "
            "dtn-jax prepare --extend=SET prepares rows by the ids of an older set"
        )
