"""A finished run becomes a model: the folder that `model_folder.py` describes."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence

import jax

import dtn_jax
from dtn_jax.config import identity
from dtn_jax.config.plugins import PART
from dtn_jax.errors import UserError, choose
from dtn_jax.export import encoder_files, model_folder, trained
from dtn_jax.export.model_folder import Facts
from dtn_jax.export.new_folder import check_free, new_folder
from dtn_jax.export.program import PLATFORMS, TABLE_DTYPES, Forward, Shapes, export_program
from dtn_jax.export.trained import Member
from dtn_jax.export.weights import write_weights
from dtn_jax.run import Run
from dtn_jax.schema import ALL, Schema
from dtn_jax.workdir import versions


def export_run(
    workdirs: Sequence[str | pathlib.Path],
    out: str | pathlib.Path,
    *,
    tables: str = "",
    tasks: Sequence[str] = (),
    select: str = "",
    replace: bool = False,
    plugins: str = "",
    data_dir: str = "",
    manual_dir: str = "",
    say: Callable[[str], None] = print,
) -> pathlib.Path:
    """Writes the model of a finished run, or of several that differ in their seed alone.

    Several become one model, of their mean probability. The folder appears whole or not at all.

    Args:
      workdirs: of the runs.
      out: the model's folder.
      tables: the dtype of the stored tables, one of TABLE_DTYPES; '' for the runs' own.
      tasks: whose scores the model gives; () for all. What they do not need is left out.
      select: the state that was the best for this task; '' for the one that the run reports.
      replace: a model that is there is replaced, at once.
      plugins, data_dir, manual_dir: where plug-ins, prepared sets and raw files are now; '' for
        where the runs had them.
      say: is told what is being done.

    Returns:
      The folder.

    Raises:
      UserError: a run is not finished, or damaged, or differs from the others; an option names what
        is not there; `out` is there and is not to be replaced.
    """
    out = pathlib.Path(out).expanduser().absolute()
    workdirs = [pathlib.Path(folder).expanduser().absolute() for folder in workdirs]
    check_free(out, replace)
    if tables:
        choose("dtype of tables", tables, TABLE_DTYPES)
    run = trained.build(workdirs, plugins, data_dir, manual_dir)
    wanted = tuple(choose("task", name, run.schema.task_names) for name in tasks)
    with new_folder(out, replace) as folder:
        members = [trained.read(run, workdir, select) for workdir in workdirs]
        told = ", ".join(f"{w} at step {m.step}" for w, m in zip(workdirs, members))
        say(f"Exporting {told}")
        _fill(folder, run, members, tables or run.config.optim.table_dtype, wanted, say)
    say(f"The model is in {out}")
    return out


def _fill(
    folder: pathlib.Path,
    run: Run,
    members: Sequence[Member],
    table_dtype: str,
    wanted: tuple[str, ...],
    say: Callable[[str], None],
) -> None:
    """Writes all files of a model, its manifest last."""
    schema = with_tasks(run.schema, wanted)
    forward = Forward(run.model, run.plan, schema.task_names, table_dtype, len(members))
    say("The program, for every batch size on CPUs, GPUs and TPUs")
    weights = write_program(folder, forward)
    say(f"The weights, {sum(_bytes(leaf) for leaf in weights.values()) / 1e6:,.1f} MB")
    prefixes = [forward.prefix(i) for i in range(len(members))]
    write_weights(
        folder / model_folder.WEIGHTS,
        weights,
        {p + name: a for p, m in zip(prefixes, members) for name, a in m.dense.items()},
        {name: [m.tables[name] for m in members] for name in members[0].tables},
    )
    say("The encoders")
    encoder_files.write(run.data, folder / model_folder.ENCODERS)
    (folder / model_folder.SCHEMA).write_text(schema.to_json())
    facts = facts_of(run, members, table_dtype, wanted or schema.task_names, schema)
    (folder / model_folder.MODEL).write_text(json.dumps(dataclasses.asdict(facts), indent=1))
    calibration = {task.name: {"method": "none"} for task in schema.tasks}
    (folder / model_folder.CALIBRATION).write_text(json.dumps(calibration, indent=1))
    made = model_folder.now()
    manifest = {"made": made, "program": program_facts(made), "versions": all_versions()}
    manifest["data"] = {"name": run.schema.name, "fingerprint": run.data.fingerprint}
    model_folder.write_manifest(folder, manifest | {"plugins": plugins_of(run.config.plugins)})


def write_program(folder: pathlib.Path, forward: Forward) -> Shapes:
    """Writes the program; returns the weights that it reads."""
    program, weights = export_program(forward)
    (folder / model_folder.PROGRAM).write_bytes(program)
    return weights


def program_facts(made: str) -> dict:
    """What the manifest says of the program, which was made now."""
    return {"made": made, "jax": jax.__version__, "platforms": list(PLATFORMS)}


def all_versions() -> dict[str, str]:
    return {"dtn_jax": dtn_jax.__version__, **versions()}


def plugins_of(option: str) -> list[dict[str, str]]:
    """The plug-ins that a config's option names: never where they lie, nor their code."""
    parts = [PART.fullmatch(part.strip()) for part in option.split(",") if part.strip()]
    return [{"name": pathlib.PurePath(p["path"]).name, "sha256": p["sha"]} for p in parts]


def facts_of(
    run: Run, members: Sequence[Member], table_dtype: str, tasks: tuple[str, ...], schema: Schema
) -> Facts:
    """What model.json says; `schema` has the tasks that the program gives."""
    plan, first, tables = run.plan, 0, []
    for view in plan.views:
        for table, rows in run.schema.tables().items():
            tables.append({"view": view, "table": table, "first": first, "rows": rows})
            first += rows
    spec = encoder_files.spec_of(run.data)
    config = {key: value for key, value in identity(run.config).items() if key != "seed"}
    full = dataclasses.asdict(run.schema)["tasks"] if schema != run.schema else ()
    return Facts(
        config=config,
        members=tuple({"seed": m.seed, "step": m.step} for m in members),
        offsets=plan.offsets,
        rows=plan.used["embedding"],
        tables=tuple(tables),
        table_dtype=table_dtype,
        tasks=tuple(name for name in schema.task_names if name in tasks),
        fixed=spec.fixed() if spec else {},
        optional=spec.optional() if spec else (),
        all_tasks=tuple(full),
    )


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


def _bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * leaf.dtype.itemsize


def read_tasks(text: str) -> tuple[str, ...]:
    """The tasks of 'a,b'."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise UserError(f"--tasks={text!r} names no task")
    return names
