"""All that this package has to say of a finished run: what dtn-jax feature_importance does.

`explain` measures, and gives what importance.json holds: facts of the run, and each finding as a
long table. Pictures and shown tables are made from these: see pictures.py and sections.py.
`explain_run` does it for the run in a folder, and writes importance.json, .csv, .md and the
pictures into a folder of its own.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import polars as pl
import rich.progress
from ml_collections import ConfigDict

from dtn_jax.analysis import conflict, gate_use, importance, pairs, pictures, quality, rank
from dtn_jax.analysis.finished import best_state, read_config, read_history
from dtn_jax.analysis.importance import Importance, Sample
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import read_sample
from dtn_jax.analysis.sections import PICTURES, sections
from dtn_jax.analysis.segments import Segments, chosen_segment, segments
from dtn_jax.analysis.watch import over_training
from dtn_jax.config import base_config
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.parallel import memory
from dtn_jax.parallel.fits import check_fits
from dtn_jax.report import screen
from dtn_jax.report.sections import markdown, terminal
from dtn_jax.report.versions import versions
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.state import State

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
    bar: Bar = lambda what, count: lambda: None,
) -> dict:
    """Measures everything.

    Args:
      run, state: a finished run and the state to be explained.
      settings: see there.
      history: the run's records of metrics.jsonl.
      bar: shows how far the long parts are.

    Returns:
      Facts, and the findings, each a list of rows: `quality` (what importances are drops of),
      `importance`, `divergence`, `gates`, `evenness`, `conflict`, `pairs` and `over_training`.

    Raises:
      UserError: an unknown split or segment, or rows on which nothing can be measured.
    """
    segment = chosen_segment(run.schema, settings.segment)
    rows, group = read_sample(run.data, settings.split, settings.rows, settings.seed)
    measured, undefined = quality.keys(run.schema, rows, run.config.evaluate.sample_weights)
    if not measured:
        raise UserError(
            f"no task has both classes in {len(rows.ids):,} rows of {settings.split}: "
            "nothing to measure; take more rows"
        )
    passes = Passes(run, state, rows)
    plain = np.asarray(passes.plain())
    sample = Sample(plain, measured, run.schema.read_names, group)
    by_method = {m: important(passes, sample, m, settings, bar) for m in settings.methods}
    cosines = conflict.make_conflict(run.config.loss, passes.forward)
    batches = conflict.batches_of(passes.count, run.config.data.batch_size)
    return {
        "seed": run.config.seed,
        "split": settings.split,
        "rows": len(rows.ids),
        "undefined": undefined,
        "quality": [
            {"key": key.name, "metric": key.metric.title, "value": key.measure(plain)[0]}
            for key in measured
        ],
        "importance": [row for method, one in by_method.items() for row in one.rows(method)],
        "divergence": [
            {"method": method} | row
            for method, one in by_method.items()
            for row in rank.divergences(one, settings.seed)
        ],
        **gate_tables(passes, segments(rows, group, run, segment) if segment else {}),
        "conflict": conflict.rows(passes.each(cosines, batches), run.schema.task_names, batches),
        "pairs": pairs.strongest(passes),
        "over_training": over_training(history),
    }


def important(
    passes: Passes, sample: Sample, method: str, settings: Settings, bar: Bar
) -> Importance:
    """How important each field is to each key."""
    fields, repeats = len(sample.fields), settings.repeats
    if method == "unknown":
        return importance.unknown(passes.unknown, sample, bar("forgetting fields", fields))
    done = bar("permuting fields", fields * repeats)
    return importance.permutation(passes.permuted, sample, repeats, settings.seed, done)


def gate_tables(passes: Passes, parts: Segments) -> dict[str, list]:
    """`gates`, the mean weights over all rows and over each part, also the effective ones over all;
    their `evenness`; and of what there is to warn, as `collapse`."""
    weights = passes.map(gate_use.make_gates(passes.forward))
    tasks, gates = passes.run.schema.task_names, weights[gate_use.GATES]
    table = gate_use.rows(gates, tasks, gate_use.ALL)
    table += gate_use.rows(weights[gate_use.EFFECTIVE], tasks, gate_use.EFFECTIVE)
    warnings = gate_use.collapse(table)
    for name, mask in parts.items():
        table += gate_use.rows(gates, tasks, name, mask)
    order = dict.fromkeys(row["gate"] for row in table)
    even = [{"gate": gate, "evenness": gate_use.evenness(gates[gate])} for gate in order]
    return {"gates": table, "evenness": even, "collapse": warnings}


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
    with rich.progress.Progress(console=screen.console()) as bars, memory.told("--rows"):

        def bar(what: str, count: int) -> Callable[[], None]:
            task = bars.add_task(what, total=count)
            return lambda: bars.advance(task)

        findings = explain(run, state, settings, read_history(workdir), bar)
    facts = {
        "dataset": run.schema.name,
        "architecture": config.model.architecture,
        "experts": run.experts,
        "step": step,
        "run": workdir.name,
        "settings": vars(settings),
        "date": datetime.date.today().isoformat(),
        "versions": versions(),
    }
    model = plain_numbers(facts | findings)
    write(model, workdir / FOLDER)
    return model


def show(model: dict, workdir: pathlib.Path) -> None:
    """Shows a model's tables in the terminal."""
    for table in terminal(sections([model]), screen.console().width, texts=False):
        screen.show(table)
    print(f"Numbers and pictures are in {workdir / FOLDER}")


def plain_numbers(value):
    """JSON's own types: numbers to DIGITS digits, what is not finite as null."""

    def rounded(number: str) -> float:
        return float(f"{float(number):.{DIGITS}g}")

    return json.loads(json.dumps(value), parse_float=rounded, parse_constant=lambda _: None)


def write(model: Mapping, folder: pathlib.Path) -> None:
    """Writes a model's numbers, tables and pictures into a folder.

    Pictures there that are not made again are another call's, and go; other files stay.
    """
    folder.mkdir(exist_ok=True)
    for name in PICTURES:
        (folder / f"{name}.png").unlink(missing_ok=True)
    text = markdown(sections([model], pictures.draw([model], folder)))
    write_whole(folder / "importance.md", f"# Importance by task: {model['run']}\n\n{text}")
    pl.DataFrame(model["importance"]).write_csv(folder / "importance.csv")
    write_whole(folder / "importance.json", json.dumps(model, indent=1, ensure_ascii=False) + "\n")
