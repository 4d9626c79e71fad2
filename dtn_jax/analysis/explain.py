"""All that this package has to say of a finished run: what dtn-jax feature_importance does.

`explain` measures, and gives what importance.json holds; pictures and tables are made from the same
numbers: see pictures.py and sections.py. `explain_run` does it for the run in a folder, and writes
importance.json, .csv, .md and the pictures into a folder of its own.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence

import jax
import polars as pl
import rich.progress
from ml_collections import ConfigDict

from dtn_jax.analysis import (
    bayes,
    conflict,
    findings,
    gate_use,
    gradients,
    importance,
    pairs,
    pictures,
    rank,
)
from dtn_jax.analysis.conflict import batches_of, make_conflict
from dtn_jax.analysis.finished import best_state, read_config, read_history
from dtn_jax.analysis.gate_use import make_gates
from dtn_jax.analysis.importance import Importance, Sample, Z
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.quality import keys
from dtn_jax.analysis.sample import read_sample
from dtn_jax.analysis.sections import PICTURES, sections
from dtn_jax.analysis.segments import chosen_segment, segments
from dtn_jax.analysis.watch import over_training
from dtn_jax.config import base_config
from dtn_jax.data.sets.synthetic.funnel import FIELDS, FunnelSpec
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.parallel import memory
from dtn_jax.parallel.fits import check_fits
from dtn_jax.report import screen
from dtn_jax.report.sections import markdown, terminal
from dtn_jax.report.versions import versions
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.state import State

OTHER_SEED = 1_000_003  # permutations of the truth are not those of the model
FOLDER = "importance"  # of a workdir
DIGITS = 6


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is asked.

    Attributes:
      split: whose rows are read.
      methods: of importance.METHODS.
      repeats: permutations of each field.
      rows: of the sample, at most.
      segment: a field, `group`, or '' for the default.
      seed: of the sample and the permutations.
    """

    split: str = "validation"
    methods: tuple[str, ...] = importance.METHODS
    repeats: int = 5
    rows: int = 50_000
    segment: str = ""
    seed: int = 0


Bar = Callable[[str, int], Callable[[], object]]  # (what, how many) -> called after each


def explain(
    run: Run,
    state: State,
    settings: Settings,
    history: Sequence[Mapping],
    folder: pathlib.Path,
    bar: Bar = lambda what, count: lambda: None,
) -> dict:
    """Measures everything, writes the pictures into `folder`, and returns the numbers.

    Args:
      run, state: a finished run and the state to be explained.
      settings: see there.
      history: the run's records of metrics.jsonl.
      folder: for the PNG files.
      bar: shows how far the long parts are.

    Raises:
      UserError: an unknown split or segment, or rows on which nothing can be measured.
    """
    segment = chosen_segment(run.schema, settings.segment)
    rows, group = read_sample(run.data, settings.split, settings.rows, settings.seed)
    measured, undefined = keys(run.schema, rows, run.config.evaluate.sample_weights)
    if not measured:
        raise UserError(
            f"no task has both classes in {len(rows.ids):,} rows of {settings.split}: "
            "nothing to measure; take more rows"
        )
    parts = segments(rows, group, run, segment) if segment else {}
    passes = Passes(run, state, rows)
    sample = Sample(passes.plain(), measured, run.schema.read_names, group)
    found = importances(passes, sample, settings, bar)
    tasks, gates = run.schema.task_names, passes.map(make_gates(passes.forward))
    cosines = make_conflict(run.config.loss, passes.forward)
    batches = batches_of(passes.count, run.config.data.batch_size)
    facts = {
        "split": settings.split,
        "rows": len(rows.ids),
        "undefined": undefined,
        "methods": {method: method_facts(one, settings.seed) for method, one in found.items()},
        "truth": truth_facts(run, rows, sample, settings, found, bar),
        "gates": gate_use.facts(gates, tasks, segment, parts),
        "conflict": conflict.facts(passes.each(cosines, batches), tasks, batches),
        "over_training": over_training(history),
        "pairs": pairs.facts(passes),
    }
    pictures.draw([facts], folder)
    return facts


def importances(
    passes: Passes, sample: Sample, settings: Settings, bar: Bar
) -> dict[str, Importance]:
    """{method: how important each field is to each key}, of the methods of `settings`."""
    fields, repeats, seed = len(sample.fields), settings.repeats, settings.seed

    def by(method: str) -> Importance:
        if method == "gradient":
            return importance.gradient(gradients.moves(passes), sample)
        if method == "unknown":
            return importance.unknown(passes.unknown, sample, bar("forgetting fields", fields))
        done = bar("permuting fields", fields * repeats)
        return importance.permutation(passes.permuted, sample, repeats, seed, done)

    return {method: by(method) for method in settings.methods}


def method_facts(found: Importance, seed: int) -> dict:
    """What `importance.json` holds of a method."""
    by_key = {
        key: {
            field: {"mean": found.mean[f, k], "error": found.error[f, k]}
            for f, field in enumerate(found.fields)
        }
        for k, key in enumerate(found.keys)
    }
    return {
        "metric": dict(zip(found.keys, found.titles)),
        "base": dict(zip(found.keys, found.base.tolist())),
        "importance": by_key,
        "divergence": dataclasses.asdict(rank.divergence(found, seed)),
    }


def truth_facts(
    run: Run,
    rows: Batch,
    sample: Sample,
    settings: Settings,
    found: Mapping[str, Importance],
    bar: Bar,
) -> dict:
    """On synthetic data the known answer, the importance of the Bayes-optimal score, and each
    method's agreement with it; else empty."""
    if run.config.data.dataset != "synthetic":
        return {}
    ids = rows.ids[:, [run.schema.field_names.index(field) for field in FIELDS]]
    done = bar("permuting fields of the truth", len(FIELDS) * settings.repeats)
    how = settings.repeats, settings.seed + OTHER_SEED, done
    truth = bayes.bayes_importance(FunnelSpec(**run.data.notes["spec"]), ids, sample.keys, *how)
    agreed = {method: bayes.agreement(one, truth) for method, one in found.items()}
    return {**method_facts(truth, settings.seed), "agreement": agreed}


def config_of(
    workdir: pathlib.Path, plugins: str, data_dir: str, manual_dir: str, check_memory: bool = True
) -> ConfigDict:
    """The config of a finished run, as its model can be read here; '' is where the run had it."""
    config = read_config(workdir, base_config(), plugins, data_dir, manual_dir)
    if config.parallel.devices > len(jax.devices()):  # it was trained elsewhere
        config.parallel.devices = config.parallel.table_devices = 0
    config.parallel.check_memory = check_memory
    return config


def explain_run(config: ConfigDict, workdir: pathlib.Path, settings: Settings) -> dict:
    """Explains the run in a folder, into its folder FOLDER; returns what importance.json holds."""
    run = build_run(config)
    chosen_segment(run.schema, settings.segment)  # before anything is read
    check_fits(run, trains=False)
    state, step = best_state(run, workdir)
    # The output of an earlier call stays until all of this one's is made.
    with tempfile.TemporaryDirectory(dir=workdir, prefix=f"{FOLDER}.") as made:
        made = pathlib.Path(made)
        with rich.progress.Progress(console=screen.console()) as bars, memory.told("--rows"):

            def bar(what: str, count: int) -> Callable[[], None]:
                task = bars.add_task(what, total=count)
                return lambda: bars.advance(task)

            found = explain(run, state, settings, read_history(workdir), made, bar)
        found = plain(
            {
                "dataset": run.schema.name,
                "architecture": config.model.architecture,
                "experts": run.experts,
                "step": step,
                "run": workdir.name,
                "arguments": [
                    f"--{name}={','.join(value) if name == 'methods' else value}"
                    for name, value in vars(settings).items()
                    if value != getattr(Settings(), name)
                ],
                "date": datetime.date.today().isoformat(),
                "versions": versions(),
                **found,
            }
        )
        write(found, made, workdir / FOLDER)
    return found


def show(found: dict, workdir: pathlib.Path) -> None:
    """Shows in the terminal what was found."""
    for table in terminal(sections([found]), screen.console().width, texts=False):
        screen.show(table)
    print(f"Numbers and pictures are in {workdir / FOLDER}")


def plain(value):
    """JSON's own types: arrays as lists, numbers to DIGITS digits, what is not finite as null."""

    def rounded(number: str) -> float:
        return float(f"{float(number):.{DIGITS}g}")

    text = json.dumps(value, default=lambda array: array.tolist())
    return json.loads(text, parse_float=rounded, parse_constant=lambda _: None)


def write(found: Mapping, made: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes what was found beside its pictures, and puts all into place.

    Args:
      found: of plain types.
      made: a new folder in the same file system, which holds the pictures; it is emptied.
      folder: the place. Pictures there that were not made again are another call's, and go; other
        files stay.
    """
    (made / "importance.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    importance_table(found).write_csv(made / "importance.csv")
    pictures = {p.stem: p.name for p in made.glob("*.png")}
    text = f"# Importance by task: {found['run']}\n\n{markdown(sections([found], pictures))}"
    (made / "importance.md").write_text(text)
    folder.mkdir(exist_ok=True)
    for name in PICTURES:
        if name not in pictures:
            (folder / f"{name}.png").unlink(missing_ok=True)
    for path in list(made.iterdir()):
        path.replace(folder / path.name)


def importance_table(found: Mapping) -> pl.DataFrame:
    """A row for each method, task@space and field: the mean, its 95 % interval, and the truth."""
    truth = found["truth"].get("importance", {})
    return pl.DataFrame(
        {
            "method": method,
            "key": row["key"],
            "field": row["field"],
            "importance": row["mean"],
            "low": plain(row["mean"] - Z * row["error"]),
            "high": plain(row["mean"] + Z * row["error"]),
            "truth": truth[row["key"]][row["field"]]["mean"] if truth else None,
        }
        for method in found["methods"]
        for row in findings.rows([found], f"methods/{method}/importance", "key", "field")
    )
