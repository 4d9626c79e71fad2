"""A whole search: trials, then the best settings trained again with seeds that it has not seen.

The best of many trials is partly the luckiest: its value is too good, and another one may be
better. So the first few may be trained anew, and the best by the mean over these seeds wins. What
the trials found counts no more.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from ml_collections import ConfigDict
from optuna.trial import FrozenTrial, TrialState

from dtn_jax.errors import UserError
from dtn_jax.metrics.selected import higher_is_better
from dtn_jax.parallel.memory import OutOfMemory
from dtn_jax.report import screen
from dtn_jax.run.workdir import Unusable
from dtn_jax.search import trials
from dtn_jax.search.search_space import Space
from dtn_jax.search.studies import BEGUN, Budget, Study, make_pruner
from dtn_jax.search.trial_storage import FAULTS, brief, opened, url_of_file
from dtn_jax.search.trials import ERROR, settings_in

FIRST_SEED = 101  # trials have seed 0, a table's final runs have 1, 2, ...


@dataclasses.dataclass(frozen=True)
class Finalist:
    """Settings that were among the best, and what their runs found on validation.

    Attributes:
      trial: its number in the search.
      settings: {option: value}.
      values: of the objective, one a seed.
      at_edge: the options that lie at an edge of their range.
    """

    trial: int
    settings: dict[str, str]
    values: list[float]
    at_edge: list[str]

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
      objective: as `train.select` names it.
      budget: what it had, how many trials ended in which way, and their seconds.
      value: the objective of the winner on validation: of its trial, or its mean over the seeds of
        finalists; None without a winner.
      settings: the winner's, {option: value}.
      at_edge: the winner's options that lie at an edge of their range.
      stretches: from one validation to the next, that all trials together have trained on.
      trials: number, state, value, settings and validations of each, and its error.
      finalists: the best first; [] where none was trained again.
    """

    objective: str
    budget: dict
    value: float | None
    settings: dict[str, str]
    at_edge: list[str]
    stretches: dict[int, int]
    trials: list[dict]
    finalists: list[Finalist]

    as_dict = dataclasses.asdict


def search(
    config: ConfigDict,
    suggest: Space,
    workdir: pathlib.Path,
    budget: Budget,
    *,
    name: str = "",
    storage: str = "",
    stored_as: str = "",
    data: str = "",
    metric: str = "AUC",
    enqueue: Iterable[Mapping[str, object]] = (),
    finalists: int = 0,
    finalist_seeds: int = 3,
    alone: bool = False,
    report: Callable[[Study], None] | None = None,
) -> Found:
    """Searches settings on validation; see the package.

    Args:
      name: of what is searched, for messages; "" is the architecture.
      stored_as: the study's name in the storage; "" is `name`.
      metric: what the objective's metric is called, for tables and pictures.
      report: called at the end, however the work ended.

    Raises:
      UserError: the study there is of another config, space or data set, no trial succeeded, or
        the storage does not answer.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    storage = storage or url_of_file(workdir / "sweep.db")
    name = name or config.model.architecture
    higher = higher_is_better(config.train.select)
    try:
        with opened(storage, stored_as or name, make_pruner(budget), higher) as stored:
            study = Study(name, stored, config, suggest, budget, metric)
            study.claim(data)
            if alone:
                study.alone()
            study.enqueue(enqueue)
            try:
                study.work(workdir)
                return found(study, run_off(study, workdir, finalists, finalist_seeds))
            finally:
                if report:
                    report(study)
    except FAULTS as error:
        raise UserError(f"the storage does not answer: {brief(error)}") from error


def found(study: Study, finalists: Sequence[Finalist] = ()) -> Found:
    """What a study has found as yet."""
    every, best = study.trials(), next(iter(study.ranked()), None)
    winner = finalists[0] if finalists else None
    if best and not winner:
        winner = Finalist(best.number, settings_in(best), [best.value], trials.at_edge(best))
    spent = sum(trials.seconds(t) for t in every if t.state in BEGUN)
    return Found(
        objective=study.objective,
        budget={
            "trials": study.budget.trials,
            "sampler": "grid" if study.budget.grid else study.budget.sampler,
            "pruner": study.budget.pruner,
            "seconds": round(spent),
            **collections.Counter(map(trials.kind, every)),
        },
        value=winner.mean if winner else None,
        settings=winner.settings if winner else {},
        at_edge=winner.at_edge if winner else [],
        stretches=trials.stretches(every),
        trials=[
            {
                "number": t.number,
                "state": trials.kind(t),
                "value": t.value,
                "settings": settings_in(t),
                "validations": {str(n): v for n, v in t.intermediate_values.items()},
                **({ERROR: t.user_attrs[ERROR]} if ERROR in t.user_attrs else {}),
            }
            for t in every
        ],
        finalists=[*finalists],
    )


def leading(study: Study, most: int) -> list[FrozenTrial]:
    """The best trials: first those that trained to the end, then those that came furthest."""
    pruned = study.in_state(TrialState.PRUNED)
    cut = [t for t in pruned if t.intermediate_values and ERROR not in t.user_attrs]
    sign = 1 if study.higher_is_better else -1

    def progress(trial: FrozenTrial) -> tuple[int, float]:
        number, value = max(trial.intermediate_values.items())
        return number, sign * value

    return [*study.ranked(), *sorted(cut, key=progress, reverse=True)][:most]


def run_off(study: Study, folder: pathlib.Path, most: int, seeds: int) -> list[Finalist]:
    """Trains the best settings again, on validation alone; returns them, the best first.

    A single one is not trained again: its trial's value is what it has. Each run has a folder of
    its own beside those of the trials, and resumes there.

    Raises:
      UserError: no run of a finalist ended well.
    """
    chosen, finalists = leading(study, most), []
    for trial in chosen:
        settings = settings_in(trial)
        values = [trial.value]
        if len(chosen) > 1:
            values = [
                value(study, settings, seed, folder / f"finalist_{trial.number}_seed_{seed}")
                for seed in range(FIRST_SEED, FIRST_SEED + seeds)
            ]
        if None not in values:  # else it was luck that its trial ended well
            finalists.append(Finalist(trial.number, settings, values, trials.at_edge(trial)))
    if chosen and not finalists:
        raise UserError(f"{study.name}: none of the best settings could be trained again")
    return sorted(finalists, key=lambda one: one.mean, reverse=study.higher_is_better)


def value(
    study: Study, settings: Mapping[str, str], seed: int, folder: pathlib.Path
) -> float | None:
    """The objective on validation of one run; None where training failed."""
    screen.say((f"{study.name}: {folder.name}", "bold"), f", {settings}")
    try:
        return trials.run(trials.with_settings(study.config, settings, seed), folder)
    except (Unusable, OutOfMemory):
        raise  # that is not due to the settings
    except UserError as error:  # such as a loss that is not finite
        screen.say(f"seed {seed} failed: {error}")
        return None
