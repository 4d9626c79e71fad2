"""The best settings that a search found, trained again with seeds that it has not seen.

The best of many trials is partly the luckiest: its value is too good, and another one may be
better. So the first few are trained anew, and the best by the mean over these seeds wins. What the
trials found counts no more.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics

from ml_collections import ConfigDict
from optuna.trial import FrozenTrial, TrialState

from dtn_jax.config import override
from dtn_jax.errors import UserError
from dtn_jax.report import screen
from dtn_jax.search.studies import Study
from dtn_jax.search.sweep_report import at_edge, settings
from dtn_jax.search.trials import ERROR
from dtn_jax.search.worker import train_when_free, value_of

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


def leading(study: Study, most: int) -> list[FrozenTrial]:
    """The best trials: first those that trained to the end, then those that came furthest."""
    trials = study.trials()
    cut = [
        t
        for t in trials
        if t.state == TrialState.PRUNED and t.intermediate_values and ERROR not in t.user_attrs
    ]
    sign = 1 if study.higher_is_better else -1

    def progress(trial: FrozenTrial) -> tuple[int, float]:
        number, value = max(trial.intermediate_values.items())
        return number, sign * value

    return [*study.ranked(trials), *sorted(cut, key=progress, reverse=True)][:most]


def run_off(
    study: Study, config: ConfigDict, folder: pathlib.Path, most: int, seeds: int
) -> list[Finalist]:
    """Trains the best settings again, on validation alone; returns them, the best first.

    A single one, or one without seeds, is not trained again: its trial's value is what it has.

    Args:
      study: the search.
      config: what its trials started from.
      folder: of its trials; each run has a folder of its own beside them, and resumes there.
      most: how many settings.
      seeds: how many runs each.

    Raises:
      UserError: there is no trial to choose, or no run of a finalist ended well.
    """
    chosen = leading(study, most)
    if not chosen:
        errors = study.errors()
        raise UserError(f"no trial succeeded; the last one: {errors[-1] if errors else 'none'}")
    found = []
    for trial in chosen:
        values = []
        for seed in range(FIRST_SEED, FIRST_SEED + seeds) if len(chosen) > 1 else ():
            place = folder / f"finalist_{trial.number}_seed_{seed}"
            screen.say((f"{study.name}: trial {trial.number} again", "bold"), f", seed {seed}")
            values.append(value(study, seeded(config, settings(trial), seed), place))
        if None in values:
            continue  # it was luck that its trial ended well
        last = trial.value if trial.value is not None else max(trial.intermediate_values.items())[1]
        found.append(Finalist(trial.number, settings(trial), values or [last], at_edge(trial)))
    if not found:
        raise UserError(f"{study.name}: none of the best settings could be trained again")
    return sorted(found, key=lambda one: one.mean, reverse=study.higher_is_better)


def seeded(config: ConfigDict, settings: dict[str, str], seed: int) -> ConfigDict:
    """The config with a trial's settings and another seed."""
    made = ConfigDict(config.to_dict()).lock()
    for key, given in settings.items():
        override(made, key, given)
    made.seed = seed
    return made


def value(study: Study, config: ConfigDict, folder: pathlib.Path) -> float | None:
    """The objective on validation of one run; None where training failed."""
    try:
        results = train_when_free(config, folder, after_validation=None)
    except UserError as error:  # such as a loss that is not finite
        screen.say(f"seed {config.seed} failed: {error}")
        return None
    return value_of(results["validation"], study.objective)
