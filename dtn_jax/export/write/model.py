"""A finished run becomes a model: the folder that `model_folder.py` describes."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence

import jax

from dtn_jax.errors import UserError, choose
from dtn_jax.evaluate import evaluate
from dtn_jax.export import calibration, fit_calibration, model_folder
from dtn_jax.export.write import derived_calibration, described, encoder_files, trained
from dtn_jax.export.write.card import page, reranked
from dtn_jax.export.write.card.measured import measure, of_tasks
from dtn_jax.export.write.fixed import all_fixed, read_fixed, unseen, value_text
from dtn_jax.export.write.new_folder import check_free, new_folder
from dtn_jax.export.write.program import TABLE_DTYPES, Forward, Shapes, export_program
from dtn_jax.export.write.size import size_of
from dtn_jax.export.write.split_scores import split_scores
from dtn_jax.export.write.trained import Member
from dtn_jax.export.write.weights import write_weights
from dtn_jax.metrics.scores import Scores
from dtn_jax.run import Run
from dtn_jax.schema import Schema
from dtn_jax.shared_files import full_path
from dtn_jax.workdir.found import runs_in

EVERY = 5.0  # seconds between two lines of progress
EXACT = "exact"  # a folder within the one that is written, for as long as it is compared with


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
    plugins: str = "",
    data_dir: str = "",
    manual_dir: str = "",
    say: Callable[[str], None] = print,
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
      calibrate: how tasks are calibrated, one of fit_calibration.WAYS; `auto` is by validation.
      plugins, data_dir, manual_dir: where plug-ins, prepared sets and raw files are now; '' for
        where the runs had them.
      say: is told what is being done.

    Returns:
      The folder.

    Raises:
      UserError: a run is not finished, or damaged, or differs from the others, or computes in
        float64; an option names what is not there; `out` is there and is not to be replaced.
    """
    out = full_path(out)
    workdirs = [run for folder in workdirs for run in runs_in(full_path(folder))]
    check_free(out, replace)
    if tables:
        choose("dtype of tables", tables, TABLE_DTYPES)
    choose("calibration", calibrate, fit_calibration.WAYS)
    run = trained.build(workdirs, plugins, data_dir, manual_dir)
    if run.config.model.dtype == "float64":
        raise UserError(
            "model.dtype=float64 is for checks, and no model that is exported computes in it: "
            "train with float32 or bfloat16"
        )
    wanted = tuple(choose("task", name, run.schema.task_names) for name in tasks)
    fixed = read_fixed(fix, run.schema)
    values = all_fixed(run, fixed)
    for name, told in unseen(run, values).items():
        say(f"Note on {name}={value_text(values[name])}: {told}")
    with new_folder(out, replace) as folder:
        members = [trained.read(run, workdir, select) for workdir in workdirs]
        told = ", ".join(f"{w} at step {m.step}" for w, m in zip(workdirs, members))
        say(f"Exporting {told}")
        dtype = tables or run.config.optim.table_dtype
        _fill(folder, run, members, dtype, wanted, fixed, calibrate, say)
    say(f"The model is in {out}")
    return out


def _fill(
    folder: pathlib.Path,
    run: Run,
    members: Sequence[Member],
    table_dtype: str,
    wanted: tuple[str, ...],
    fixed: Mapping[str, str | None],
    calibrate: str,
    say: Callable[[str], None],
) -> None:
    """Writes all files of a model, its manifest last."""
    schema = described.with_tasks(run.schema, wanted)
    tasks = schema.task_names
    forward = Forward(run.model, run.plan, tasks, run.losses, table_dtype, len(members))
    exact, stored, own = None, {}, run.config.optim.table_dtype
    if table_dtype != own:
        say(f"Scoring validation with tables of {own}, to compare with")
        (folder / EXACT).mkdir()
        as_trained = dataclasses.replace(forward, table_dtype=own)
        write_model(folder / EXACT, run, members, as_trained, schema, wanted, {}, lambda told: None)
        exact = split_scores(folder / EXACT, run, "validation")
        shutil.rmtree(folder / EXACT)
    write_model(folder, run, members, forward, schema, wanted, fixed, say)
    say("The encoders")
    encoder_files.write(run.data, folder / model_folder.ENCODERS)
    say("Calibrating on validation")
    validation = split_scores(folder, run, "validation")
    weighted, given = run.config.evaluate.sample_weights, wanted or schema.task_names
    if run.schema.weight and run.config.loss.sample_weights and not weighted:
        say(
            f"note: calibration and metrics do not count rows by {run.schema.weight}, as the loss "
            "does: the run has evaluate.sample_weights=False"
        )
    choices = fit_calibration.fit(validation, schema, weighted, calibrate)
    if calibrate == fit_calibration.AUTO:
        choices = derived_calibration.harmless(choices, validation, schema, weighted, given)
    calibration.write(folder, {task: choice.calibration for task, choice in choices.items()})
    choices = fit_calibration.told(choices, model_folder.read_facts(folder).improper)
    for task, choice in choices.items():
        say(f"  {task}: {choice.reason}")
    if exact:
        found = _metrics(run, schema, given, exact, validation)
        stored = described.measured(forward, own, *found)
    say("The card, with the scores of test")
    manifest = described.manifest_of(run)
    measured, size = measure(folder, run, validation, choices), size_of(folder, forward)
    for line in reranked.told(measured, schema, "validation"):
        say(f"  {line}")
    page.write(folder, run, size, measured, manifest, stored)
    model_folder.write_manifest(folder, manifest)


def write_model(
    folder: pathlib.Path,
    run: Run,
    members: Sequence[Member],
    forward: Forward,
    schema: Schema,
    wanted: tuple[str, ...],
    fixed: Mapping[str, str | None],
    say: Callable[[str], None],
) -> None:
    """Writes what scores encoded rows: program, weights, schema.json and model.json."""
    say("The program, for every batch size on CPUs, GPUs and TPUs")
    weights = write_program(folder, forward)
    total = sum(_bytes(leaf) for leaf in weights.values())
    say(f"The weights, {total / 1e6:,.1f} MB")
    prefixes = [forward.prefix(i) for i in range(len(members))]
    write_weights(
        folder / model_folder.WEIGHTS,
        weights,
        {p + name: a for p, m in zip(prefixes, members) for name, a in m.dense.items()},
        {name: [m.tables[name](folder) for m in members] for name in members[0].tables},
        Written(total, say),
    )
    (folder / model_folder.SCHEMA).write_text(schema.to_json())
    facts = described.facts_of(run, members, forward, wanted, schema, fixed)
    (folder / model_folder.MODEL).write_text(json.dumps(dataclasses.asdict(facts), indent=1))


def write_program(folder: pathlib.Path, forward: Forward) -> Shapes:
    """Writes the program; returns the weights that it reads."""
    program, weights = export_program(forward)
    (folder / model_folder.PROGRAM).write_bytes(program)
    return weights


class Written:
    """Says now and then how much is written."""

    def __init__(self, total: int, say: Callable[[str], None]):
        self.total, self.say, self.done, self.said = total, say, 0, time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.said > EVERY:
            self.say(f"  {self.done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB")
            self.said = time.monotonic()


def _metrics(run: Run, schema: Schema, tasks: Sequence[str], *scores: Scores) -> list[dict]:
    """{task@space: {metric: value}} of each for these tasks, uncalibrated."""
    options = run.config.evaluate
    own = functools.partial(
        evaluate, schema=schema, bins=options.ece_bins, weighted=options.sample_weights
    )
    return [of_tasks(tasks, own(each)) for each in scores]


def _bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * leaf.dtype.itemsize


def read_tasks(text: str) -> tuple[str, ...]:
    """The tasks of 'a,b'."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise UserError(f"--tasks={text!r} names no task")
    return names
