"""One ranking score of a finished run: a product of its tasks' predictions, each to a power.

    click**0.3 * order

The powers are searched on validation.parquet, without training: at random, then along one power at
a time, for the highest value of one metric of the gain; then those that may be noise are left out.
Test is read once, for what the best ones give there beside equal powers. Predictions are calibrated
as export does by itself.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.comparison import pages
from dtn_jax.comparison.differences import Difference, rank_differences
from dtn_jax.comparison.scored_rows import ScoredRows, check_finished
from dtn_jax.data.formula import named
from dtn_jax.errors import UserError, choose
from dtn_jax.export import fit_calibration, ranking
from dtn_jax.export.calibration import scores
from dtn_jax.export.ranking import RANK_FILE, Ranking
from dtn_jax.files import write_whole
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.gains import Gains, gains_of, labels_of
from dtn_jax.metrics.influence import Units
from dtn_jax.metrics.scores import Scores, read_predictions
from dtn_jax.places import full_path
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.run.outcome import PREDICTIONS, VALIDATION
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float

MOST = 100_000  # rows that are searched on: whole groups, drawn at random
TRIES = 32  # at random, for each task
STEPS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # by which a power is moved
NOISE = 2.0  # standard errors by which powers must raise the objective
LEAST = 0.01  # of a regression's mean label: lower predictions count as that, which has any power
OBJECTIVES = ("gauc", "ndcg_at_10", "auc")


def find(workdir: str | pathlib.Path, gain: str, objective: str = "") -> dict:
    """Searches a ranking score for a run, shows it, and writes rank.json into its folder.

    Args:
      workdir: of a finished run.
      gain: what a row is worth: an expression of labels, such as `click + 5*order`.
      objective: one of OBJECTIVES; '' is GAUC where rows have groups, else AUC.

    Returns:
      What rank.json holds.

    Raises:
      UserError: there is no such run, an option is wrong, or validation has no gain.
    """
    folder = full_path(workdir)
    options = check_finished(folder)["config"].get("evaluate", {})
    schema = Schema.load(folder / "schema.json")
    weighted = bool(options.get("sample_weights", False))
    worth = ranking.parse(gain, {name: name for name in schema.task_names}, "--gain")
    objective = choose("objective", objective or ("gauc" if schema.group else "auc"), OBJECTIVES)
    validation = read_predictions(folder / VALIDATION, schema)
    chosen = fit_calibration.fit(validation, schema, weighted)
    chosen = fit_calibration.harmless(chosen, validation, schema, weighted, schema.task_names)
    calibration = {task: choice.calibration for task, choice in chosen.items()}

    def split(name: str, scored: Scores) -> ScoredRows:
        """With calibrated scores; the gain is one more label, the first."""
        labels = labels_of(scored, schema)
        return ScoredRows(
            name=str(folder / name),
            key=pl.Series("row", range(len(scored.logits))),
            labels={worth.text: worth.score(labels)} | labels,
            scores=scores(scored.logits, schema, schema.task_names, calibration),
            kinds={},
            group=scored.group,
            weight=scored.sample_weight if weighted else None,
        )

    known = split(VALIDATION, validation)
    terms = terms_of(schema, known.labels)
    values = pick(known, worth.text, terms, objective)
    equal, best = next(iter(values)), max(values, key=values.__getitem__)
    test = split(PREDICTIONS, read_predictions(folder / PREDICTIONS, schema))
    alone = max(terms, key=values.__getitem__)  # the best single task

    def ranked(text: str) -> list[ScoredRows]:
        return [dataclasses.replace(test, rank=parsed(text, test).score(test.scores))]

    tested = {text: rank_differences(ranked(text), ranked(best)) for text in (equal, alone)}
    beside = {text: [facts_of(one) for one in lines] for text, lines in tested.items()}
    facts = {"expression": best, "equal": equal, "gain": worth.text, "objective": objective}
    facts |= {"validation": values, "calibration": calibration, "test": beside[equal]}
    facts |= {"alone": alone, "test_beside_alone": beside[alone]}
    write_whole(folder / RANK_FILE, json.dumps(facts, indent=1))
    show(facts, tested, folder)
    return facts


def parsed(text: str, rows: ScoredRows) -> Ranking:
    return ranking.parse(text, ranking.names_of(list(rows.scores)))


def pick(known: ScoredRows, gain: str, terms: Sequence[str], objective: str) -> dict[str, float]:
    """{expression: the objective on all rows}: equal powers, those found, then each term alone.

    Raises:
      UserError: the objective is not defined.
    """

    def gains(kept: np.ndarray | bool) -> Gains | None:
        worth = {gain: np.where(kept, known.labels[gain], np.nan)}
        return next((first for _, first in gains_of(worth, known.group, known.weight)), None)

    columns = np.stack([parsed(term, known).score(known.scores) for term in terms], axis=1)
    every, few = gains(True), gains(sample(known))
    if few is None or few.value(objective, columns[few.places, 0]) is None:
        raise UserError(
            f"{METRICS[objective].title} of {gain!r} is not defined on validation: expected gains "
            "of 0 or more, some above 0, and groups where the metric is of groups"
        )
    logs = np.log(np.maximum(columns[few.places], 1e-300))
    powers = search(lambda row: few.value(objective, logs @ row), len(terms))
    powers = pruned(few, logs, powers, objective)
    texts = [product(terms, np.ones(len(terms))), product(terms, powers), *terms]
    ranks = {text: parsed(text, known).score(known.scores) for text in texts}
    return {text: every.value(objective, rank[every.places]) for text, rank in ranks.items()}


def terms_of(schema: Schema, labels: Mapping[str, np.ndarray]) -> list[str]:
    """The factors of a score: a task, or a regression's prediction, bounded so that it has powers.

    A regression whose mean label is not above 0 has none.
    """
    terms = []
    for task in schema.tasks:
        name = named(task.name).id
        mean = 1.0 if task.kind == "binary" else float(np.nanmean(labels[task.name]))
        if mean > 0:
            terms.append(name if task.kind == "binary" else f"max({name}, {LEAST * mean:.2g})")
    if len(terms) < 2:
        raise UserError(f"{schema.name} has no two tasks whose powers can be searched")
    return terms


def product(terms: Sequence[str], powers: Sequence[float]) -> str:
    """The expression; what has the power 0 is left out."""
    factors = [t if w == 1 else f"{t}**{w:g}" for t, w in zip(terms, powers) if w]
    return " * ".join(factors)


def sample(known: ScoredRows) -> np.ndarray:
    """Which rows are searched on: MOST, and as many more as complete a group."""
    units = Units(len(known.key), known.group)
    order = np.random.default_rng(0).permutation(units.count)[units.of_row]
    return order <= np.sort(order)[:MOST][-1]


def search(
    value: Callable[[Float[np.ndarray, " T"]], float], tasks: int
) -> Float[np.ndarray, " T"]:
    """The powers with the highest value, in hundredths, the largest of them 1 or -1.

    Args:
      value: of powers; multiples of them have the same.
      tasks: T.
    """

    def scaled(row: np.ndarray) -> np.ndarray:
        return np.round(row / max(np.abs(row).max(), 1e-9), 2)

    draws = np.random.default_rng(0).uniform(-1, 1, (TRIES * tasks, tasks))
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
    return best


def pruned(
    gains: Gains, logs: Float[np.ndarray, "N T"], powers: Float[np.ndarray, " T"], objective: str
) -> Float[np.ndarray, " T"]:
    """The powers without those that nobody can tell from 0, the smallest first.

    Without all of these the objective is lower by less than NOISE standard errors of that
    difference, over rows or groups.
    """
    best, kept = gains.influences(logs @ powers)[objective], powers
    for task in np.argsort(np.abs(powers))[:-1]:
        row = np.where(np.arange(len(powers)) == task, 0, kept)
        without = gains.influences(logs @ row)[objective]
        noise = NOISE * np.sqrt(np.square(best.units - without.units).sum())
        kept = row if best.value - without.value < noise else kept
    return kept


def facts_of(one: Difference) -> dict:
    """A difference as rank.json has it; null is not defined."""
    ends = {"equal": one.a[0], "found": one.b[0], "p": one.p_holm}
    ends |= {name: getattr(one, name) for name in ("difference", "low", "high")}
    ends = {name: None if math.isnan(value) else value for name, value in ends.items()}
    return {"of": one.key.removeprefix("rank: "), "metric": one.metric} | ends


def show(
    facts: Mapping, differences: Mapping[str, Sequence[Difference]], folder: pathlib.Path
) -> None:
    """Prints what was found, beside other expressions, and says where it is."""
    title = METRICS[facts["objective"]].title
    rows = [[text, f"{value:.4f}"] for text, value in facts["validation"].items()]
    screen.show(Grid((f"{facts['gain']}, on validation", title), rows).terminal())
    screen.say(f"\nThe ranking score is {facts['expression']}")
    for other, lines in differences.items():
        if other == facts["expression"]:
            continue
        screen.say(f"\nOn test, A: {other}, B: {facts['expression']}")
        screen.show(pages.terminal(lines, "ahead", {}), pages.WIDE)
    screen.say(f"\nIt is in {folder / RANK_FILE}, which dtn-jax export takes as --rank")
