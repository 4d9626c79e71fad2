"""What a model's folder says of itself: model.json, the manifest, and card/measured.json."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

import jax

import dtn_jax
from dtn_jax.config import identity
from dtn_jax.config.plugins import PART
from dtn_jax.export import model_folder
from dtn_jax.export.model_folder import Facts
from dtn_jax.export.write import encoder_files
from dtn_jax.export.write.fixed import all_fixed
from dtn_jax.export.write.program import PLATFORMS, Forward
from dtn_jax.export.write.trained import Member
from dtn_jax.report.versions import versions
from dtn_jax.run import Run
from dtn_jax.schema import ALL, Schema

MEASURED = "card/measured.json"  # what was measured while it was written, for the card


def with_tasks(schema: Schema, wanted: Sequence[str]) -> Schema:
    """A schema of these tasks and those whose predictions or spaces they need; () is all."""
    tasks = {task.name: task for task in schema.tasks}
    needed, asked = set(), list(wanted or tasks)
    while asked:
        name = asked.pop()
        if name not in needed and name != ALL:
            needed.add(name)
            asked += [*tasks[name].upstream, *tasks[name].spaces]
    return dataclasses.replace(schema, tasks=tuple(t for t in schema.tasks if t.name in needed))


def facts_of(
    run: Run,
    members: Sequence[Member],
    forward: Forward,
    wanted: Sequence[str],
    schema: Schema,
    fixed: Mapping[str, str | None],
) -> Facts:
    """What model.json says.

    Args:
      run: of the members.
      forward: the program.
      wanted: tasks whose scores the model gives; () for all.
      schema: of the tasks that the program gives.
      fixed: {field: the value that stands for it when scoring}, beside those of a schema file.
    """
    plan, first, tables = run.plan, 0, []
    for view in plan.views:
        for table, rows in run.schema.tables().items():
            tables.append({"view": view, "table": table, "first": first, "rows": rows})
            first += rows
    config = {key: value for key, value in identity(run.config).items() if key != "seed"}
    every = json.loads(run.schema.to_json())["tasks"] if schema != run.schema else ()
    return Facts(
        config=config,
        members=tuple(
            {"seed": m.seed, "step": m.step, "selected_by": m.selected_by} for m in members
        ),
        offsets=plan.offsets,
        rows=plan.used["embedding"],
        tables=tuple(tables),
        table_dtype=forward.table_dtype,
        tasks=tuple(name for name in schema.task_names if not wanted or name in wanted),
        fixed=all_fixed(run, fixed),
        optional=encoder_files.spec_of(run.data).optional(),
        all_tasks=tuple(every),
        improper={
            own.task: own.improper
            for own in run.losses
            if own.improper and own.task in schema.task_names
        },
    )


def manifest_of(run: Run) -> dict:
    """What the manifest says beside the files: see `model_folder.write_manifest`."""
    made = model_folder.now()
    return {
        "made": made,
        "program": program_facts(made),
        "versions": all_versions(),
        "data": {"name": run.schema.name, "fingerprint": run.data.fingerprint},
        "plugins": plugins_of(run.config.plugins),
    }


def program_facts(made: str) -> dict:
    """What the manifest says of a program that is made now."""
    return {"made": made, "jax": jax.__version__, "platforms": list(PLATFORMS)}


def all_versions() -> dict[str, str]:
    return {"dtn_jax": dtn_jax.__version__, **versions()}


def plugins_of(option: str) -> list[dict[str, str]]:
    """The plug-ins that a config's option names: never where they lie, nor their code."""
    parts = [PART.fullmatch(part.strip()) for part in option.split(",") if part.strip()]
    return [{"name": pathlib.PurePath(p["path"]).name, "sha256": p["sha"]} for p in parts]


def measured(
    forward: Forward, trained_dtype: str, exact: Mapping[str, dict], stored: Mapping[str, dict]
) -> dict:
    """What measured.json says where tables are stored in another dtype than they were trained in.

    `exact` and `stored` are the metrics of validation with either, {task@space: {metric: value}},
    before any calibration; so `stored` less `exact` is what the stored dtype changes.
    """
    return {
        "tables": {
            "trained": trained_dtype,
            "stored": forward.table_dtype,
            "split": "validation",
            "exact_metrics": exact,
            "stored_metrics": stored,
        }
    }
