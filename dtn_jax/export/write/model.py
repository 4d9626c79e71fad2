"""A finished run becomes a model: the folder that `model_folder.py` describes."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence

import jax

import dtn_jax
from dtn_jax.config import identity
from dtn_jax.config.plugins import PART
from dtn_jax.errors import UserError, choose
from dtn_jax.export import calibration, fit_calibration, model_folder, ranking
from dtn_jax.export.calibration import outputs
from dtn_jax.export.model_folder import Facts, check_free, new_folder
from dtn_jax.export.write import card, encoders, trained
from dtn_jax.export.write.measure import Export, measure, metrics_of, split_scores
from dtn_jax.export.write.program import (
    PLATFORMS,
    TABLE_DTYPES,
    Forward,
    export_program,
    write_weights,
)
from dtn_jax.export.write.trained import Member
from dtn_jax.files import full_path
from dtn_jax.report.versions import versions
from dtn_jax.run import outcome
from dtn_jax.run.outcome import runs_in
from dtn_jax.run.run import Run
from dtn_jax.schema import ALL, Schema

EXACT = "exact"  # a folder within the one that is written, for as long as it is compared with
Say = Callable[[str], None]


def export_run(
    workdirs: Sequence[str | pathlib.Path],
    out: str | pathlib.Path,
    *,
    tables: str = "",
    tasks: Sequence[str] = (),
    select: str = "",
    replace: bool = False,
    fix: str = "",
    calibrate: str = fit_calibration.AUTO,
    rank: str = "",
    plugins: str = "",
    data_dir: str = "",
    manual_dir: str = "",
    say: Say = print,
) -> pathlib.Path:
    """Writes the model of a finished run, or of several that differ in their seed alone.

    Several become one model, of their mean probability. The folder appears whole or not at all.

    Args:
      workdirs: of the runs; a folder of replicas stands for all of them.
      out: the model's folder.
      tables: the dtype of the stored tables, one of TABLE_DTYPES; '' for the runs' own.
      tasks: whose scores the model gives; () for all. What they do not need is left out.
      select: the state that was the best for this task; '' for the one that the run reports.
      replace: a model that is there is replaced, at once.
      fix: 'position=1,page=null': values of fields that only training knows, when rows are scored.
      rank: the ranking score that the model also gives, as of ranking.py; or a rank.json.
      calibrate: how tasks are calibrated, one of fit_calibration.WAYS; `auto` is by validation.
      plugins, data_dir, manual_dir: where plug-ins, prepared sets and raw files are now; '' for
        where the runs had them.
      say: prints a line.

    Returns:
      The folder.

    Raises:
      UserError: a run is not finished, or damaged, or differs from the others, or computes in
        float64; an option names what is not there; `out` is there and is not to be replaced.
      OSError: the folder cannot be written.
    """
    out = full_path(out)
    workdirs = [run for folder in workdirs for run in runs_in(full_path(folder))]
    check_free(out, replace)
    choose("dtype of tables", tables or TABLE_DTYPES[0], TABLE_DTYPES)
    choose("calibration", calibrate, fit_calibration.WAYS)
    run = trained.build(workdirs, plugins, data_dir, manual_dir)
    if run.config.model.dtype == "float64":
        raise UserError(
            "model.dtype=float64 is for checks, and no model that is exported computes in it: "
            "train with float32 or bfloat16"
        )
    wanted = tuple(choose("task", name, run.schema.task_names) for name in tasks)
    schema = with_tasks(run.schema, wanted)
    ranked = ranking.read_option(rank, outputs(schema, wanted or schema.task_names))
    fixed = {**encoders.spec_of(run.data).fixed(), **encoders.read_fixed(fix, run.schema)}
    for name, reason in encoders.unseen(run, fixed).items():
        say(f"Note on {name}={encoders.value_text(fixed[name])}: {reason}")
    with new_folder(out, replace) as folder:
        members = [trained.read(run, workdir, select) for workdir in workdirs]
        steps = (f"{w} at step {m.step}" for w, m in zip(workdirs, members))
        say(f"Exporting {', '.join(steps)}")
        for workdir in workdirs:
            if "test" not in outcome.read(workdir):
                say(
                    f"note: {workdir} has not read test, as a trial of a sweep has not. The export "
                    "reads it, for the card: choose no trial by that"
                )
        dtype = tables or run.config.optim.table_dtype
        facts = facts_of(run, members, dtype, schema, wanted, fixed)
        facts = dataclasses.replace(facts, rank=ranked.score.text if ranked else "")
        forward = Forward(run.model, run.plan, schema.task_names, run.losses, dtype, len(members))
        _fill(Export(folder, run, schema, facts, forward, ranked), members, calibrate, say)
    say(f"The model is in {out}")
    return out


def _fill(export: Export, members: Sequence[Member], calibrate: str, say: Say) -> None:
    """Writes all files of a model, its manifest last."""
    folder, run, schema, facts = export.folder, export.run, export.schema, export.facts
    tables, dtype = {}, run.config.optim.table_dtype
    (folder / card.MEASURED).parent.mkdir()
    if facts.table_dtype != dtype:
        say(f"Scoring validation with tables of {dtype}, to compare with")
        forward = dataclasses.replace(export.forward, table_dtype=dtype)
        exact = dataclasses.replace(export, folder=folder / EXACT, forward=forward)
        exact.folder.mkdir()
        write_program(exact, members, lambda text: None)
        tables = {"trained": dtype, "stored": facts.table_dtype, "split": "validation"}
        tables["exact_metrics"] = metrics_of(exact, split_scores(exact, "validation"))
        shutil.rmtree(exact.folder)
    write_program(export, members, say)
    (folder / model_folder.SCHEMA).write_text(schema.to_json())
    (folder / model_folder.MODEL).write_text(json.dumps(dataclasses.asdict(facts), indent=1))
    say("The encoders")
    encoders.write(run.data, folder / model_folder.ENCODERS)
    say("Calibrating on validation")
    validation = split_scores(export, "validation")
    weighted = run.config.evaluate.sample_weights
    if run.schema.weight and run.config.loss.sample_weights and not weighted:
        say(
            f"note: calibration and metrics do not count rows by {run.schema.weight}, as the loss "
            "does: the run has evaluate.sample_weights=False"
        )
    choices = fit_calibration.fit(validation, schema, weighted, calibrate)
    if calibrate == fit_calibration.AUTO:
        choices = fit_calibration.harmless(choices, validation, schema, weighted, facts.tasks)
    calibration.write(folder, {task: choice.calibration for task, choice in choices.items()})
    choices = fit_calibration.with_improper(choices, facts.improper)
    for task, choice in choices.items():
        say(f"  {task}: {choice.reason}")
    say("The card, with the scores of test")
    measured = measure(export, validation, choices)
    if tables:
        tables["stored_metrics"] = measured["uncalibrated"]["validation"]
    for line in card.reranked(measured, schema, "validation"):
        say(f"  {line}")
    manifest = {
        "made": model_folder.now(),
        **program_facts(),
        "data": {"name": run.schema.name, "fingerprint": run.data.fingerprint},
        "plugins": plugins_of(run.config.plugins),
    }
    card.write(export, measured | {"tables": tables}, manifest)
    model_folder.write_manifest(folder, manifest)


def write_program(export: Export, members: Sequence[Member], say: Say) -> None:
    """Writes what scores encoded rows: the program and its weights."""
    say("The program, for every batch size on CPUs, GPUs and TPUs")
    program, weights = export_program(export.forward)
    (export.folder / model_folder.PROGRAM).write_bytes(program)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in weights.values())
    say(f"The weights, {size / 1e6:,.1f} MB")
    prefixes = map(export.forward.prefix, range(len(members)))
    write_weights(
        export.folder / model_folder.WEIGHTS,
        weights,
        {p + name: a for p, m in zip(prefixes, members) for name, a in m.dense.items()},
        {name: [m.tables[name]() for m in members] for name in members[0].tables},
    )


def with_tasks(schema: Schema, wanted: Sequence[str]) -> Schema:
    """A schema of these tasks and those whose predictions or spaces they need; () is all."""
    tasks = {task.name: task for task in schema.tasks}
    needed, rest = set(), list(wanted or tasks)
    while rest:
        name = rest.pop()
        if name not in needed and name != ALL:
            needed.add(name)
            rest += [*tasks[name].upstream, *tasks[name].spaces]
    return dataclasses.replace(schema, tasks=tuple(t for t in schema.tasks if t.name in needed))


def facts_of(
    run: Run,
    members: Sequence[Member],
    table_dtype: str,
    schema: Schema,
    wanted: Sequence[str],
    fixed: Mapping[str, object],
) -> Facts:
    """What config.json says.

    Args:
      run: of the members.
      table_dtype: of the stored tables.
      schema: of the tasks that the program gives.
      wanted: tasks whose scores the model gives; () for all.
      fixed: {field: the value that stands for it when scoring}.
    """
    first, tables = 0, []
    for view in run.plan.views:
        for table, rows in run.schema.tables().items():
            tables.append({"view": view, "table": table, "first": first, "rows": rows})
            first += rows
    every = json.loads(run.schema.to_json())["tasks"] if schema != run.schema else ()
    losses = [loss for loss in run.losses if loss.task in schema.task_names]
    return Facts(
        config={key: value for key, value in identity(run.config).items() if key != "seed"},
        members=tuple(
            {"seed": m.seed, "step": m.step, "selected_by": m.selected_by} for m in members
        ),
        offsets=run.plan.offsets,
        rows=run.plan.used["embedding"],
        tables=tuple(tables),
        table_dtype=table_dtype,
        tasks=tuple(name for name in schema.task_names if not wanted or name in wanted),
        fixed=dict(fixed),
        optional=encoders.spec_of(run.data).optional(),
        all_tasks=tuple(every),
        improper={loss.task: loss.improper for loss in losses if loss.improper},
    )


def program_facts() -> dict:
    """What the manifest says of a program that is made now."""
    program = {"made": model_folder.now(), "jax": jax.__version__, "platforms": list(PLATFORMS)}
    return {"program": program, "versions": {"dtn_jax": dtn_jax.__version__, **versions()}}


def plugins_of(option: str) -> list[dict[str, str]]:
    """The plug-ins that a config's option names: never where they lie, nor their code."""
    parts = (PART.fullmatch(part.strip()) for part in option.split(",") if part.strip())
    return [{"name": pathlib.PurePath(p["path"]).name, "sha256": p["sha"]} for p in parts]
