"""A finished run becomes a model: the folder that `model_folder.py` describes, with its card.

The template of the card, README.md, is card.md, whose front matter is what model hubs read
(huggingface.co/docs/hub/model-cards). Its numbers, card/measured.json, are by the model's own
program on the prepared validation and test rows. Calibrations are fitted and chosen on validation.
Test is read once, to be reported. Both have the values that were logged, also of fields that only
training knows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jinja2
import numpy as np
from markupsafe import Markup

from dtn_jax import errors
from dtn_jax.analysis import finished
from dtn_jax.config import base_config, differing, identity
from dtn_jax.config.plugins import PART
from dtn_jax.data.epochs.reader import in_order
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.work import SCHEMA_FILE
from dtn_jax.data.vocabulary import path_of
from dtn_jax.errors import UserError, choose
from dtn_jax.export import calibration, encoding, fit_calibration, model_folder, ranking
from dtn_jax.export.calibration import SCORE, meanings, outputs
from dtn_jax.export.calibration import scores as outputs_of
from dtn_jax.export.encoding import FITTED, SPEC, VOCABULARY
from dtn_jax.export.fit_calibration import Choice
from dtn_jax.export.model import EMBEDDING, SCALE, Batches
from dtn_jax.export.model_folder import Facts, check_free, new_folder
from dtn_jax.export.ranking import Ranking
from dtn_jax.export.write import program as written
from dtn_jax.export.write.example import example_row
from dtn_jax.export.write.program import TABLE_DTYPES, Forward, export_program, named
from dtn_jax.metrics import METRICS, Value
from dtn_jax.metrics.gains import gains_of, labels_of
from dtn_jax.metrics.scores import Scores
from dtn_jax.parallel.mesh import ON_ONE_CPU
from dtn_jax.places import full_path
from dtn_jax.report import markdown
from dtn_jax.run import outcome
from dtn_jax.run.checkpoint import ROWS, Checkpoints, weights_of
from dtn_jax.run.evaluate import evaluate, scored
from dtn_jax.run.outcome import runs_in
from dtn_jax.run.run import Run, build_run
from dtn_jax.schema import ALL, MEAN, Schema
from dtn_jax.tables import saved_rows

Say = Callable[[str], None]
OF_EACH = ("seed", "train.start_from")  # of each of several runs
TEMPLATE = pathlib.Path(__file__).with_name("card.md")
MEASURED = "card/measured.json"
LISTED = ("auc", "gauc", "logloss", "ece", "predicted_observed", "rmse", "xauc")
WORDS = {name: getattr(errors, name) for name in ("TO_SCORE", "THIS_ALONE", "WHOLE")}
WORDS |= {"SCORE": SCORE, "MEAN": MEAN, "ALL": ALL}
WORDS["NAMES"] = {name: METRICS[name].title for name in LISTED} | {"ece": "ECE"}


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
    fields = encoding.read(run.data.folder, spec, run.schema)
    with new_folder(out, replace) as folder:
        members = [read(run, workdir, select) for workdir in workdirs]
        facts = Facts(
            config={key: value for key, value in identity(run.config).items() if key != "seed"},
            members=tuple(member.facts for member in members),
            offsets=run.plan.offsets,
            rows=run.plan.used["embedding"],
            table_dtype=dtype,
            tasks=names,
            all_tasks=tuple(every),
            improper={loss.task: loss.improper for loss in losses if loss.improper},
            rank=ranked.text if ranked else "",
            example=example_row(run.data, fields),
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
    prefixes = map(export.forward.prefix, range(len(members)))
    written.write_weights(
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
        **written.program_facts(),
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


def plugins_of(option: str) -> list[dict[str, str]]:
    """The plug-ins that a config's option names: never where they lie, nor their code."""
    parts = (PART.fullmatch(part.strip()) for part in option.split(",") if part.strip())
    return [{"name": pathlib.PurePath(p["path"]).name, "sha256": p["sha"]} for p in parts]


class Member(NamedTuple):
    """The weights of a run.

    Attributes:
      facts: the `seed` of the run, the `step` of the state, and by what that is the best:
        `selected_by`, a task or the mean of all.
      dense: {name: array}: `params/…` and `model_state/…`.
      tables: {`tables/…`: what gives its rows as numbers are stored, piece by piece}
    """

    facts: dict
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
    places = plugins, data_dir, manual_dir
    configs = [finished.read_config(folder, base_config(), *places) for folder in workdirs]
    first = identity(configs[0])
    for folder, config in zip(workdirs, configs):
        if other := [k for k in differing(first, identity(config)) if k not in OF_EACH]:
            raise UserError(
                f"{folder} and {workdirs[0]} differ in {', '.join(other)}; expected runs that "
                "differ in their seed alone"
            )
    config = configs[0]
    config.parallel.update(ON_ONE_CPU)  # wherever it was trained
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

    def weights(place: pathlib.Path) -> tuple[dict, dict]:
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
    return Member({"seed": seed, "step": step, "selected_by": by}, dense, tables)


def spec_of(data: Prepared) -> Spec:
    """The schema file of a prepared set, with the unit of its times."""
    spec = schema_file.load(data.folder / SCHEMA_FILE)
    return schema_file.timed(spec, data.notes.get("time_unit", ""))


def write_encoders(data: Prepared, folder: pathlib.Path) -> None:
    """Fills a new folder: encoders.json, spec.json and vocabulary/.

    A vocabulary holds keys, hashes of the values that train has shown; never the values, which the
    prepared set has beside them.
    """
    spec = spec_of(data)
    (folder / VOCABULARY).mkdir(parents=True)
    shutil.copyfile(data.folder / FITTED, folder / FITTED)
    (folder / SPEC).write_text(encoding.spec_json(spec))
    for table in {field.table for field in spec.fields if field.encoder == "vocabulary"}:
        path = path_of(data.folder / VOCABULARY, table)
        shutil.copyfile(path, folder / VOCABULARY / path.name)


@dataclasses.dataclass(frozen=True)
class Export:
    """A model that is being written.

    Attributes:
      folder: of the model.
      run: that it is made of.
      spec: the schema file of its data.
      schema: of the tasks that its program gives.
      facts: what config.json says.
      forward: the program.
      ranked: its ranking score, if it gives one.
    """

    folder: pathlib.Path
    run: Run
    spec: Spec
    schema: Schema
    facts: Facts
    forward: Forward
    ranked: Ranking | None = None


def split_scores(export: Export, split: str) -> Scores:
    """The logits of a model, uncalibrated, beside the labels of a split of its data.

    The folder's program and weights are enough. Fields that have a fixed value in the model have
    their own here.
    """
    run, program = export.run, Batches.open(export.folder, export.facts, {})
    scores = scored(
        in_order(run.data, split, run.config.data.eval_batch_size),
        run.data.rows[split],
        lambda batch: program.call(batch.ids, batch.weights, batch.numeric),
    )
    columns = [run.schema.task_names.index(name) for name in export.schema.task_names]
    of_tasks = {name: getattr(scores, name)[:, columns] for name in ("labels", "label_mask")}
    return dataclasses.replace(scores, **of_tasks)


def metrics_of(export: Export, scores: Scores) -> dict[str, dict[str, Value]]:
    """{task@space: {metric: value}} of the tasks that a model gives, by the options of its run."""
    options, tasks = export.run.config.evaluate, export.facts.tasks
    metrics = evaluate(scores, export.schema, options.ece_bins, options.sample_weights)
    return {key: row for key, row in metrics.items() if key.partition("@")[0] in tasks}


def measure(export: Export, validation: Scores, choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Reads test, and says what both splits are scored like.

    Args:
      export: the model.
      validation: its scores, not calibrated.
      choices: {task: how it is calibrated}, by validation.

    Returns:
      `calibration`, the choices; `uncalibrated` and `calibrated`, each the metrics of validation
      and test; and `rank`, see `rank_metrics`.
    """
    chosen = {task: choice.calibration for task, choice in choices.items()}
    before = {"validation": validation, "test": split_scores(export, "test")}
    after = {
        split: dataclasses.replace(s, logits=calibration.apply(chosen, s.logits, export.schema))
        for split, s in before.items()
    }
    return {
        "calibration": {task: dataclasses.asdict(choice) for task, choice in choices.items()},
        "uncalibrated": {split: metrics_of(export, scores) for split, scores in before.items()},
        "calibrated": {split: metrics_of(export, scores) for split, scores in after.items()},
        "rank": rank_metrics(export, after) if export.ranked else {},
    }


def rank_metrics(export: Export, after: Mapping[str, Scores]) -> dict[str, Any]:
    """How the ranking score orders rows of test by its gain and by each task.

    Returns:
      `expression`; `metrics`, {metric: its title}; and `test`, {gain or task: {metric: value}}. A
      task with labels below 0 is left out.

    Raises:
      UserError: it is not finite in a row of either split.
    """
    ranked, weighted = export.ranked, export.run.config.evaluate.sample_weights
    for split, scores in after.items():
        rank = ranked.score(outputs_of(scores.logits, export.schema, export.facts.tasks, {}))
        if bad := np.count_nonzero(np.isnan(rank)):
            raise UserError(
                f"--rank {ranked.text!r} is not finite in {bad:,} of {rank.size:,} rows of "
                f"{split}: bound what it reads, such as by max(x, 0.01)"
            )
    labels, ranks = labels_of(scores, export.schema), {}
    worth = {name: gain.score(labels) for name, gain in ranked.gains.items()}
    worth |= {name: labels[name] for name in export.facts.tasks}
    for name, gains in gains_of(worth, scores.group, scores.sample_weight if weighted else None):
        known = gains.influences(rank[gains.places])
        ranks[name] = {m: one.value for m, one in known.items() if np.isfinite(one.value)}
    titles = {name: METRICS[name].title for values in ranks.values() for name in values}
    return {"expression": ranked.text, "metrics": titles, "test": ranks}


def write_card(export: Export, measured: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Writes README.md and card/measured.json.

    Args:
      export: the model; all that scores rows is written.
      measured: as of `measure`.
      manifest: what the manifest says beside the files.
    """
    run, schema, model = export.run, export.schema, export.facts
    chosen = {task: row["calibration"] for task, row in measured["calibration"].items()}
    test = measured["calibrated"]["test"]
    shapes = export.forward.weights()
    sizes = {name: math.prod(shapes[name].shape) for name in shapes if not name.endswith(SCALE)}
    text = page(
        run=run,
        schema=schema,
        model=model,
        notes=run.data.notes,
        spec=export.spec,
        manifest=manifest,
        outputs=meanings(schema, model.tasks, model.improper, chosen),
        tasks=[task for task in schema.tasks if task.name in model.tasks],
        listed=[n for n in LISTED if any(row.get(n) is not None for row in test.values())],
        parameters=sum(n for name, n in sizes.items() if "params/" in name),
        embedding_parameters=sizes[EMBEDDING],
        **measured,
    )
    (export.folder / MEASURED).parent.mkdir()
    (export.folder / MEASURED).write_text(json.dumps(measured, indent=1, allow_nan=False))
    (export.folder / model_folder.CARD).write_text(text)


def page(**known: Any) -> str:
    """The text of a card, from what the template names."""

    def escaped(value: Any) -> str:
        """Any value as plain text of Markdown, in a cell of a table too; what is Markup stays."""
        text = str(value)
        return text if isinstance(value, Markup) else markdown.escaped(text).replace("|", r"\|")

    options = {"undefined": jinja2.StrictUndefined, "finalize": escaped}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, **options)
    template = environment.from_string(TEMPLATE.read_text(), WORDS | {"pair": pair})
    return re.sub(r"\n{3,}", "\n\n", template.render(known)).strip() + "\n"


def pair(before: float | None, after: float | None) -> str:
    """'0.1234 → 0.1230'; one number where they are the same; '' where neither is defined."""
    ends = ["n/d" if value is None else f"{value:.4f}" for value in (before, after)]
    return "" if ends == ["n/d"] * 2 else " → ".join(dict.fromkeys(ends))
