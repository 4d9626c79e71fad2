"""One ranking score of a finished run: a product of its tasks' predictions, each to a power.

    click**0.3 * order

The powers are searched on validation.parquet, without training: at random, then along one power at
a time, for the highest value of one metric of the gain. Test is then read once, for what the best
ones give there beside equal powers. Predictions are calibrated as export does by itself.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.comparison import pages, ranks
from dtn_jax.comparison.differences import Difference
from dtn_jax.comparison.scored_rows import NEEDED, ScoredRows
from dtn_jax.data.formula import NAME
from dtn_jax.errors import UserError, choose
from dtn_jax.export import fit_calibration, ranking
from dtn_jax.export.calibration import scores
from dtn_jax.export.ranking import RANK_FILE, Ranking
from dtn_jax.files import full_path, write_whole
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.gains import Gains, labels_of
from dtn_jax.metrics.influence import Units
from dtn_jax.metrics.scores import Scores
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.run.evaluate import read_predictions
from dtn_jax.run.outcome import PREDICTIONS, VALIDATION
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float

MOST = 100_000  # rows that are searched on: whole groups, drawn at random
TRIES = 32  # at random, for each task
STEPS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # by which a power is moved
SMALL = 0.002  # of the metric: powers that add less are left out
LEAST = 0.01  # of a regression's mean label: lower predictions count as that, which has any power
OBJECTIVES = ("gauc", "ndcg_at_10", "auc")
Columns = dict[str, np.ndarray]  # [N] each


def find(workdir: str | pathlib.Path, gain: str, objective: str = "", seed: int = 0) -> dict:
    """Searches a ranking score for a run, shows it, and writes rank.json into its folder.

    Args:
      workdir: of a finished run.
      gain: what a row is worth: an expression of labels, such as `click + 5*order`.
      objective: one of OBJECTIVES; '' is GAUC where rows have groups, else AUC.
      seed: of the search.

    Returns:
      What rank.json holds.

    Raises:
      UserError: there is no such run, an option is wrong, or validation has no gain.
    """
    folder = full_path(workdir)
    for name, problem in NEEDED.items():
        if not (folder / name).exists():
            raise UserError(f"{folder} {problem}")
    schema = Schema.load(folder / "schema.json")
    options = json.loads((folder / "config.json").read_text())["config"].get("evaluate", {})
    weighted = bool(options.get("sample_weights", False))
    worth = ranking.parse(gain, {name: name for name in schema.task_names}, "--gain")
    objective = choose("objective", objective or ("gauc" if schema.group else "auc"), OBJECTIVES)
    if objective != "auc" and not schema.group:
        raise UserError(f"--objective={objective} is of groups, and {schema.name} has none: auc")
    validation = read_predictions(folder / VALIDATION, schema)
    chosen = fit_calibration.fit(validation, schema, weighted)
    chosen = fit_calibration.harmless(chosen, validation, schema, weighted, schema.task_names)
    calibration = {task: choice.calibration for task, choice in chosen.items()}

    def read(split: Scores) -> tuple[Columns, Columns]:
        """{output: its calibrated scores}, and {the gain, then each task: its label}."""
        labels = labels_of(split, schema)
        gains = worth.score(labels)
        if low := np.count_nonzero(gains < 0):
            raise UserError(f"--gain {worth.text!r} is below 0 in {low:,} rows")
        outputs = scores(split.logits, schema, schema.task_names, calibration)
        return outputs, {worth.text: gains} | labels

    outputs, labels = read(validation)
    known = ~np.isnan(labels[worth.text])
    known &= validation.sample_weight > 0 if weighted else True
    extra = (validation.group, validation.sample_weight if weighted else None)
    extra = [None if one is None else one[known] for one in extra]
    gains = of_rows(labels[worth.text][known], *extra)
    names = ranking.names_of(list(outputs))
    terms = [ranking.parse(term, names) for term in terms_of(schema, labels)]
    columns = np.stack([term.score(outputs)[known] for term in terms], axis=1)
    if gains.value(objective, columns[:, 0]) is None:
        raise UserError(f"{METRICS[objective].title} of {gain!r} is not defined on validation")
    few = sample(validation.group[known] if schema.group else np.arange(known.sum()))
    gains_of_few = of_rows(*(None if one is None else one[few] for one in (gains.gain, *extra)))
    logs = np.log(np.maximum(columns[few], 1e-300))
    powers = search(lambda row: gains_of_few.value(objective, logs @ row), len(terms), seed)
    equal = product(terms, np.ones(len(terms)))
    every = [ranking.parse(text, names) for text in (equal, product(terms, powers))] + terms
    values = {one.text: gains.value(objective, one.score(outputs)[known]) for one in every}
    equal, best = every[0], max(every, key=lambda one: values[one.text])  # of all rows
    outputs, labels = read(test := read_predictions(folder / PREDICTIONS, schema))
    rows = ScoredRows(str(folder), pl.Series("row", range(len(test.logits))), labels, {}, {})
    rows = dataclasses.replace(rows, group=test.group, weight=test.sample_weight, weighted=weighted)
    sides = ([dataclasses.replace(rows, rank=one.score(outputs))] for one in (equal, best))
    differences = ranks.differences(*sides)
    found = {"expression": best.text, "equal": equal.text, "gain": worth.text, "seed": seed}
    found |= {"objective": objective, "validation": values, "validation_rows": int(known.sum())}
    found |= {"calibration": calibration, "test": [facts_of(one) for one in differences]}
    write_whole(folder / RANK_FILE, json.dumps(found, indent=1))
    show(found, differences, folder)
    return found


def of_rows(gain: np.ndarray, group: np.ndarray | None, weights: np.ndarray | None) -> Gains:
    return Gains(gain, np.arange(len(gain)), Units(len(gain), group), group, weights)


def terms_of(schema: Schema, labels: Mapping[str, np.ndarray]) -> list[str]:
    """The factors of a score: a task, or a regression's prediction, bounded so that it has powers.

    A regression whose mean label is not above 0 has none.
    """
    terms = []
    for task in schema.tasks:
        name = task.name if re.fullmatch(NAME, task.name) else f"`{task.name}`"
        mean = 1.0 if task.kind == "binary" else float(np.nanmean(labels[task.name]))
        if mean > 0:
            terms.append(name if task.kind == "binary" else f"max({name}, {LEAST * mean:.2g})")
    if len(terms) < 2:
        raise UserError(f"{schema.name} has no two tasks whose powers can be searched")
    return terms


def product(terms: Sequence[Ranking], powers: Sequence[float]) -> str:
    """The expression; what has the power 0 is left out."""
    factors = [t.text if w == 1 else f"{t.text}**{w:g}" for t, w in zip(terms, powers) if w]
    return " * ".join(factors)


def sample(unit: np.ndarray) -> np.ndarray:
    """Which of rows are searched on: MOST, and as many more as complete a group."""
    number = np.unique(unit, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(number.max() + 1)[number]
    return order <= np.sort(order)[:MOST][-1]


def search(
    value: Callable[[Float[np.ndarray, " T"]], float], tasks: int, seed: int
) -> Float[np.ndarray, " T"]:
    """The powers with the highest value, in hundredths, the largest of them 1 or -1.

    Args:
      value: of powers; multiples of them have the same.
      tasks: T.
      seed: of the random ones.
    """

    def scaled(row: np.ndarray) -> np.ndarray:
        return np.round(row / max(np.abs(row).max(), 1e-9), 2)

    draws = np.random.default_rng(seed).uniform(-1, 1, (TRIES * tasks, tasks))
    rows = [scaled(row) for row in (np.ones(tasks), *np.eye(tasks), *draws)]
    highest, best = max(((value(row), row) for row in rows), key=lambda one: one[0])
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for change in (*np.eye(tasks), *-np.eye(tasks)):
                row = scaled(best + step * change)
                if row.any() and (one := value(row)) > highest:
                    highest, best, moved = one, row, True
    for task in np.argsort(np.abs(best))[:-1]:
        row = np.where(np.arange(tasks) == task, 0, best)
        best = row if value(row) > highest - SMALL else best
    return best


def facts_of(one: Difference) -> dict:
    """A difference as rank.json has it; null is not defined."""
    ends = {"equal": one.a[0], "found": one.b[0], "p": one.p_holm}
    ends |= {name: getattr(one, name) for name in ("difference", "low", "high")}
    ends = {name: None if math.isnan(value) else value for name, value in ends.items()}
    return {"of": one.key.removeprefix("rank: "), "metric": one.metric} | ends


def show(found: Mapping, differences: Sequence[Difference], folder: pathlib.Path) -> None:
    """Prints what was found, and says where it is."""
    title = METRICS[found["objective"]].title
    rows = [[text, f"{value:.4f}"] for text, value in found["validation"].items()]
    what = f"{found['gain']}, {found['validation_rows']:,} rows of validation"
    screen.show(Grid((what, title), rows).terminal())
    screen.say(f"\nThe ranking score is {found['expression']}")
    screen.say(f"\nOn test, A: {found['equal']}, B: {found['expression']}")
    screen.show(pages.terminal(differences, "ahead"), pages.WIDE)
    screen.say(
        f"\nIt is in {folder / RANK_FILE}, which export takes: dtn-jax export --workdir={folder} "
        f"--rank={folder / RANK_FILE} --out=MODEL"
    )
