"""A run that starts from the last state of another one: `train.start_from`.

Dense parameters and their moving average, tables, normalisation statistics and the optimizers'
states are the other run's. Rows of ids that the other run's data set does not have are those that a
new run would begin with. Rates, task weights, dropout and the key of all draws are this run's own;
`state.step` counts on, so that no draw comes twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from dtn_jax.config import differing, identity
from dtn_jax.config.identity import shown
from dtn_jax.errors import UserError
from dtn_jax.places import full_path
from dtn_jax.run import checkpoint, outcome
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import Run, Started, build_model_and_plan
from dtn_jax.run.state import State
from dtn_jax.schema import Schema
from dtn_jax.tables import known_rows
from dtn_jax.tables.plan import TablePlan

FREE = ("model.dropout", "model.embedding_dropout")  # options of the model that may differ
# Others that may not.
SAME = ("optim.tables", "optim.table_dtype", "loss.tasks", "loss.balancing", "train.average")


def started(run: Run, workdir: str | pathlib.Path) -> Run:
    """The run, with what it starts from, if it does.

    A run that has begun knows it from its own folder, whatever has become of the other one.

    Raises:
      UserError: the other run is not there, is not finished, is damaged or is too different.
    """
    if not run.config.train.start_from:
        return run
    here, folder = full_path(workdir), full_path(run.config.train.start_from)
    if here == folder:
        raise UserError(f"train.start_from={folder} is this run's own workdir; name another one")
    begun = (here / "config.json").is_file() and outcome.run_facts(here).get("started_from")
    return dataclasses.replace(run, started=Started(**begun) if begun else find(run, folder))


def find(run: Run, folder: pathlib.Path) -> Started:
    """What a run starts from that starts from the run in a folder; raises as `started`."""
    what = f"train.start_from={folder}"
    results = outcome.read(folder)
    if results is None:
        raise UserError(f"{what} holds no finished run (no results.json)")
    facts = outcome.run_facts(folder)
    there, here = identity(facts["config"]), identity(run.config)
    others = [
        key
        for key in differing(there, here)
        if key in SAME or (key.startswith("model.") and key not in FREE)
    ]
    if others:
        message = f"{what} has another model or other tables; expected the same options"
        raise UserError(f"{message}\n{shown(others, there, here)}")
    older = {one["fingerprint"]: one["name"] for one in run.data.extends}
    if facts["data"] not in (run.data.fingerprint, *older):
        names = ", ".join(f"{name} {known[:12]}" for known, name in older.items())
        raise UserError(
            f"{what} was trained on another data set, fingerprint {facts['data'][:12]}; expected "
            f"that of this run, {run.data.fingerprint[:12]}, or one that this extends: "
            f"{names or 'none'}. dtn-jax prepare --extend=SET prepares rows by the ids of an older "
            "set"
        )
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
    schema = Schema.from_json((folder / "schema.json").read_text())
    model, plan, at = build_model_and_plan(run.config, schema, run.at)
    old = dataclasses.replace(run, schema=schema, model=model, plan=plan, at=at)
    with contextlib.closing(Checkpoints(folder, plan)) as checkpoints:
        path = checkpoints.folder / "last" / str(outcome.read(folder)["steps"])

        def read(part: dict) -> dict:
            take = functools.partial(checkpoints.arrays_in, path, part, part=True)
            return checkpoint.read(path, take)

        return _taken(run, old, read)


def _taken(run: Run, old: Run, read: Callable[[dict], dict]) -> State:
    """A new state with what `read(a part of the old state's places)` gives."""
    state, like = jax.block_until_ready(run.new_state()), old.state_places
    names = ("step", "params", "iterate", "model_state", "balancing", "opt_state")
    dense = read({name: part for name in names if (part := getattr(like, name)) != {}})
    rows = {part: dict(getattr(state, part)) for part in ("tables", "slots")}
    same = old.schema.tables() == run.schema.tables()
    for part, arrays in rows.items():
        for name, array in arrays.items():
            for leaf in jax.tree.leaves(array) if same else ():
                leaf.delete()  # before the other one is read
            known = read({part: {name: getattr(like, part)[name]}})[part][name]
            arrays[name] = known if same else _put(array, known, run.plan, old.plan, name)
    return state.replace(**dense, **rows)


def _put(array: Any, known: Any, plan: TablePlan, old: TablePlan, name: str) -> Any:
    """A packed array, or what an optimizer keeps for it, with the known rows."""
    lie, was, places = plan.arrays[name], old.arrays[name], known_rows.parts(old, plan, name)

    def put(a: jax.Array, b: jax.Array) -> jax.Array:
        if not a.ndim:
            return b
        call = functools.partial(known_rows.put, lie=lie, was=was, places=places)
        return jax.jit(call, donate_argnums=0, out_shardings=a.sharding)(a, b)

    return jax.tree.map(put, array, known)
