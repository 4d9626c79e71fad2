"""A finished run becomes a model: the folder that `model_folder.py` describes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

import dtn_jax
from dtn_jax.analysis import finished
from dtn_jax.config import base_config, differing, identity
from dtn_jax.config.plugins import PART
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.work import SCHEMA_FILE
from dtn_jax.errors import UserError, choose
from dtn_jax.export import encoding, fit_calibration, model_folder, ranking
from dtn_jax.export.calibration import outputs
from dtn_jax.export.encoding import FITTED, SPEC, VOCABULARY
from dtn_jax.export.model_folder import Facts, check_free, new_folder
from dtn_jax.export.write.card import Export, measure, split_scores, write_card
from dtn_jax.export.write.program import (
    PLATFORMS,
    TABLE_DTYPES,
    Forward,
    export_program,
    named,
    write_weights,
)
from dtn_jax.files import full_path
from dtn_jax.report.versions import versions
from dtn_jax.run import outcome
from dtn_jax.run.checkpoint import ROWS, Checkpoints, weights_of
from dtn_jax.run.outcome import runs_in
from dtn_jax.run.run import Run, build_run
from dtn_jax.schema import ALL, MEAN, Schema
from dtn_jax.tables import saved_rows

Say = Callable[[str], None]
OF_EACH = ("seed", "train.start_from")  # of each of several runs


def export_run(
    workdirs: Sequence[str | pathlib.Path],
    out: str | pathlib.Path,
    *,
    tables: str = "",
    tasks: Sequence[str] = (),
    select: str = "",
    replace: bool = False,
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
    run = build(workdirs, plugins, data_dir, manual_dir)
    if run.config.model.dtype == "float64":
        raise UserError("model.dtype=float64 is for checks: train with float32 or bfloat16")
    wanted = tuple(choose("task", name, run.schema.task_names) for name in tasks)
    schema = with_tasks(run.schema, wanted)
    ranked = ranking.read_option(rank, outputs(schema, wanted or schema.task_names))
    names = tuple(name for name in schema.task_names if not wanted or name in wanted)
    dtype, spec = tables or run.config.optim.table_dtype, spec_of(run.data)
    every = json.loads(run.schema.to_json())["tasks"] if schema != run.schema else ()
    losses = [loss for loss in run.losses if loss.task in schema.task_names]
    with new_folder(out, replace) as folder:
        members = [read(run, workdir, select) for workdir in workdirs]
        steps = (f"{w} at step {m.step}" for w, m in zip(workdirs, members))
        say(f"Exporting {', '.join(steps)}")
        facts = Facts(
            config={key: value for key, value in identity(run.config).items() if key != "seed"},
            members=tuple(
                {"seed": m.seed, "step": m.step, "selected_by": m.selected_by} for m in members
            ),
            offsets=run.plan.offsets,
            rows=run.plan.used["embedding"],
            table_dtype=dtype,
            tasks=names,
            fixed=spec.fixed(),
            optional=spec.optional(),
            all_tasks=tuple(every),
            improper={loss.task: loss.improper for loss in losses if loss.improper},
            rank=ranked.text if ranked else "",
        )
        forward = Forward(run.model, run.plan, schema.task_names, run.losses, dtype, len(members))
        export = Export(folder, run, spec, schema, facts, forward, ranked)
        _fill(export, members, calibrate, say)
    say(f"The model is in {out}")
    return out


def _fill(export: Export, members: Sequence[Member], calibrate: str, say: Say) -> None:
    """Writes all files of a model, its manifest last."""
    folder, run, schema, facts = export.folder, export.run, export.schema, export.facts
    say("The program, for every batch size on CPUs, GPUs and TPUs")
    program, weights = export_program(export.forward)
    (folder / model_folder.PROGRAM).write_bytes(program)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in weights.values())
    say(f"The weights, {size / 1e6:,.1f} MB")
    prefixes = map(export.forward.prefix, range(len(members)))
    write_weights(
        folder / model_folder.WEIGHTS,
        weights,
        {p + name: a for p, m in zip(prefixes, members) for name, a in m.dense.items()},
        {name: [m.tables[name]() for m in members] for name in members[0].tables},
    )
    (folder / model_folder.SCHEMA).write_text(schema.to_json())
    (folder / model_folder.MODEL).write_text(json.dumps(dataclasses.asdict(facts), indent=1))
    write_encoders(run.data, folder / model_folder.ENCODERS)
    say("Calibrating on validation")
    validation = split_scores(export, "validation")
    weighted = run.config.evaluate.sample_weights
    choices = fit_calibration.fit(validation, schema, weighted, calibrate)
    if calibrate == fit_calibration.AUTO:
        choices = fit_calibration.harmless(choices, validation, schema, weighted, facts.tasks)
    calibrations = {task: choice.calibration for task, choice in choices.items()}
    (folder / model_folder.CALIBRATION).write_text(json.dumps(calibrations, indent=1))
    for task, choice in choices.items():
        say(f"  {task}: {choice.reason}")
    say("The card, with the scores of test")
    manifest = {
        "made": model_folder.now(),
        **program_facts(),
        "data": {"name": run.schema.name, "fingerprint": run.data.fingerprint},
        "plugins": plugins_of(run.config.plugins),
    }
    write_card(export, measure(export, validation, choices), manifest)
    model_folder.write_manifest(folder, manifest)


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


def program_facts() -> dict:
    """What the manifest says of a program that is made now."""
    program = {"made": model_folder.now(), "jax": jax.__version__, "platforms": list(PLATFORMS)}
    return {"program": program, "versions": {"dtn_jax": dtn_jax.__version__, **versions()}}


def plugins_of(option: str) -> list[dict[str, str]]:
    """The plug-ins that a config's option names: never where they lie, nor their code."""
    parts = (PART.fullmatch(part.strip()) for part in option.split(",") if part.strip())
    return [{"name": pathlib.PurePath(p["path"]).name, "sha256": p["sha"]} for p in parts]


@dataclasses.dataclass(frozen=True)
class Member:
    """The weights of a run.

    Attributes:
      seed: of the run.
      step: of the state.
      selected_by: by what that state is the best: a task, or the mean of all.
      dense: {name: array}: `params/…` and `model_state/…`.
      tables: {`tables/…`: what gives its rows as numbers are stored, piece by piece}
    """

    seed: int
    step: int
    selected_by: str
    dense: dict[str, jax.Array]
    tables: dict[str, Callable[[], Iterator[np.ndarray]]]


def build(
    workdirs: Sequence[pathlib.Path], plugins: str = "", data_dir: str = "", manual_dir: str = ""
) -> Run:
    """The run that all these workdirs have in common, but for its seed, on one device.

    Args:
      workdirs: of finished runs.
      plugins, data_dir, manual_dir: where plug-ins, prepared sets and raw files are now; "" for
        where they were.

    Raises:
      UserError: a run is not there, is not finished, or differs from the first.
    """
    configs = [finished.read_config(folder, base_config(), plugins) for folder in workdirs]
    first = identity(configs[0])
    for folder, config in zip(workdirs, configs):
        if other := [k for k in differing(first, identity(config)) if k not in OF_EACH]:
            raise UserError(
                f"{folder} and {workdirs[0]} differ in {', '.join(other)}; expected runs that "
                "differ in their seed alone"
            )
    config = configs[0]
    config.parallel.processes, config.parallel.table_platform = "off", "cpu"
    config.parallel.devices, config.parallel.table_devices = 1, 0  # wherever it was trained
    config.data.data_dir = data_dir or config.data.data_dir
    config.data.manual_dir = manual_dir or config.data.manual_dir
    return build_run(config)


def read(run: Run, folder: pathlib.Path, select: str = "") -> Member:
    """The weights of the run in a folder, which is like `run` but for its seed.

    Args:
      select: by what the state was the best: a task, or '' for what the run selected by.

    Raises:
      UserError: see `finished.best`.
    """
    step = finished.best(run, folder, select)
    like = weights_of(run.unfilled_state())
    del like["tables"]

    def weights(place: pathlib.Path, _: bool) -> tuple[dict, dict]:
        tables = {
            f"tables/{name}": functools.partial(
                saved_rows.rows, place / ROWS, f"tables.{name}", run.plan.used[name]
            )
            for name in run.plan.arrays
        }
        return checkpoints.arrays_in(place, like, part=True), tables

    with contextlib.closing(Checkpoints(folder, run.plan)) as checkpoints:
        dense, tables = checkpoints.of_best(step, weights)
    dense = {k: v for part, tree in dense.items() for k, v in named(part, tree).items()}
    seed = int(outcome.run_facts(folder)["config"]["seed"])
    by = select or str(outcome.read(folder).get("selected_by", MEAN))
    return Member(seed, step, by, dense, tables)


def spec_of(data: Prepared) -> Spec:
    """The schema file of a prepared set, with the unit of its times."""
    spec = schema_file.load(data.folder / SCHEMA_FILE)
    return schema_file.timed(spec, data.notes.get("time_unit", ""))


def write_encoders(data: Prepared, folder: pathlib.Path) -> None:
    """Fills a new folder: encoders.json, spec.json and vocabulary/.

    A vocabulary holds keys, hashes of the values that train has shown; never the values.
    """
    folder.mkdir()
    shutil.copyfile(data.folder / FITTED, folder / FITTED)
    (folder / SPEC).write_text(encoding.spec_json(spec_of(data)))
    if (data.folder / VOCABULARY).exists():
        shutil.copytree(data.folder / VOCABULARY, folder / VOCABULARY)
