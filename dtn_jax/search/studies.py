"""Optuna's studies, as searches need them: shared by workers, resumed, each trial done once."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import random
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence

import optuna
from ml_collections import ConfigDict
from optuna.trial import FrozenTrial, TrialState

from dtn_jax.config import differing, identity
from dtn_jax.errors import UserError
from dtn_jax.report import screen
from dtn_jax.run.train import AfterValidation
from dtn_jax.run.workdir import Unusable
from dtn_jax.search import trial_storage, trials
from dtn_jax.search.search_space import Space, described, settings_of
from dtn_jax.search.trial_storage import experimental
from dtn_jax.search.trials import ERROR, LEFT_OUT, SETTINGS, first_number

SAMPLERS = ("tpe", "random")
SEEDS = 2**32  # that a sampler takes, from 0
PRUNERS = ("none", "median", "asha")
THIRD = 3  # of the trials, one goes on
OWNER = "config"  # the attribute of a study that says what it was begun with
HOPELESS = 3  # errors before the first success: the search ends
STUBBORN = 2  # draws in a row of what was tried, after which TPE gives way to chance
EXHAUSTED = 50  # such draws, after which the search ends: hardly any settings are left
BEGUN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a search may spend, and how.

    Attributes:
      trials: over all workers; 0 is no limit.
      sampler, pruner: of SAMPLERS and PRUNERS.
      seed: the sampler's.
      grid: {option: values}, of which every point is tried; no sampler is asked then.
      validations: of all trials together, from one of which to the next all train on the same
        number of examples, so that this is a budget of examples; 0 is no limit.
    """

    trials: int = 0
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    grid: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    validations: int = 0


class LeftOut(Exception):
    """Ends a trial as failed: no sampler learns from it, as it would from a pruned one."""


@dataclasses.dataclass(frozen=True)
class Study:
    """A search of settings for a config.

    Attributes:
      name: of what is searched, for messages.
      optuna: the study in its storage.
      config: what trials start from.
      suggest: what they are asked to set.
      budget: what they may spend.
      metric: what the objective's metric is called.
    """

    name: str
    optuna: optuna.Study
    config: ConfigDict
    suggest: Space
    budget: Budget
    metric: str = "AUC"

    @property
    def objective(self) -> str:
        return self.config.train.select

    @property
    def higher_is_better(self) -> bool:
        return self.optuna.direction.name == "MAXIMIZE"

    def claim(self, data: str) -> None:
        """Says what the study is of: a config, a space, an objective and a data set.

        Raises:
          UserError: it was begun with others, or the space asks for what no trial can have.
        """
        own = {key: str(value) for key, value in identity(self.config).items()}
        owner = {"config": own, "objective": self.objective, "data": data}
        owner |= {"space": described(self.suggest, self.config), "sampler": self.budget.sampler}
        owner |= {"pruner": self.budget.pruner, "seed": self.budget.seed}
        stored = self.optuna.user_attrs.get(OWNER)
        if stored is None:
            self.optuna.set_user_attr(OWNER, owner)
            return
        others = sorted(differing(identity(stored["config"]), own))
        others += [key for key in owner if key != "config" and stored.get(key) != owner[key]]
        if others:
            raise UserError(
                f"the study {self.optuna.study_name!r} was begun with another {', '.join(others)}; "
                "give another --study, --workdir or --storage"
            )

    def every(self) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False)

    def trials(self) -> list[FrozenTrial]:
        """All but those that were left out."""
        return [t for t in self.every() if LEFT_OUT not in t.user_attrs]

    def ranked(self) -> list[FrozenTrial]:
        """Those that are complete, the best first."""
        complete = [t for t in self.trials() if t.state == TrialState.COMPLETE]
        return sorted(complete, key=lambda t: t.value, reverse=self.higher_is_better)

    def errors(self) -> list[str]:
        """Why trials could not be done."""
        return [t.user_attrs[ERROR] for t in self.trials() if ERROR in t.user_attrs]

    def in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return [t for t in self.trials() if t.state in states]

    def spent(self) -> bool:
        """Whether the trials have trained on as many examples as they may."""
        return 0 < self.budget.validations <= sum(trials.stretches(self.trials()).values())

    def in_vain(self) -> int:
        """How many of the last draws had been tried before."""
        ended = (t for t in reversed(self.every()) if t.state != TrialState.RUNNING)
        return len(list(itertools.takewhile(lambda t: LEFT_OUT in t.user_attrs, ended)))

    def wants_more(self) -> bool:
        """Whether a trial waits, or a new one may begin."""
        if self.in_state(TrialState.WAITING):
            return True
        within = not self.budget.trials or len(self.in_state(*BEGUN)) < self.budget.trials
        return within and not self.spent() and self.in_vain() < EXHAUSTED

    def enqueue(self, settings: Iterable[Mapping[str, object]]) -> None:
        """Lets settings be tried next that were found elsewhere, each once."""
        known = {t.user_attrs.get(SETTINGS) for t in self.every()}
        for one in settings:
            text = as_text(one)
            if text not in known:
                self.optuna.enqueue_trial({}, user_attrs={SETTINGS: text})
            known.add(text)

    def alone(self) -> None:
        """Called by the only worker: trials that seem to run died, and are run again."""
        for trial in self.in_state(TrialState.RUNNING):
            self.optuna.tell(trial.number, state=TrialState.FAIL)
            trial_storage.again(self.optuna, self.optuna.get_trials()[trial.number])

    def sampler(self, place: int, by_chance: bool = False) -> optuna.samplers.BaseSampler:
        """What suggests settings of the draw in this place; that of a grid is the point there."""
        budget = self.budget
        with experimental():
            if budget.grid:
                points = list(itertools.product(*budget.grid.values()))
                random.Random(budget.seed).shuffle(points)
                point = dict(zip(budget.grid, points[place % len(points)]))
                return optuna.samplers.PartialFixedSampler(point, optuna.samplers.RandomSampler())
            seed = (budget.seed + 1_000_003 * place) % SEEDS
            if by_chance or budget.sampler == "random":
                return optuna.samplers.RandomSampler(seed=seed)
            # Trials that others do count as bad: workers don't all try the same.
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def settings(self, trial: optuna.Trial) -> dict[str, str]:
        """What a trial sets, by what it was given, else by what is drawn for it.

        The draw depends on its place among all draws: an interrupted search draws what an uncut one
        does, and no two workers draw the same point of a grid.

        Raises:
          LeftOut: another trial has done or does the same.
        """
        if SETTINGS not in trial.user_attrs:
            every = self.every()
            first = first_number(every[trial.number])
            place = sum(first_number(t) == t.number for t in every[:first])
            self.optuna.sampler = self.sampler(place, self.in_vain() >= STUBBORN)
            trial.set_user_attr(SETTINGS, as_text(settings_of(self.suggest, trial)))
        # It has said what it does, and looks at what others say: of two that do the same, one at
        # least sees the other.
        text = trial.user_attrs[SETTINGS]
        others = [t for t in self.trials() if t.number != trial.number]
        if text in [t.user_attrs.get(SETTINGS) for t in others if t.state != TrialState.FAIL]:
            trial.set_user_attr(LEFT_OUT, True)
            raise LeftOut
        return json.loads(text)

    def after_validation(self, trial: optuna.Trial) -> AfterValidation:
        """Reports each validation to the pruner, and ends the trial when that says so."""

        def report(number: int, found: Mapping[str, float | None]) -> None:
            if found[self.objective] is None:
                return
            trial.report(found[self.objective], number)
            if (spent := self.spent()) or trial.should_prune():
                why = "the budget is spent" if spent else "behind the others"
                raise optuna.TrialPruned(f"{why} at validation {number}")

        return report

    def run_one(self, folder: pathlib.Path) -> None:
        """Runs the next trial; one that was interrupted waits to be run again."""
        number, taken = -1, False

        def objective(trial: optuna.Trial) -> float:
            nonlocal number, taken
            number = trial.number
            try:
                return self.value(trial, folder)
            finally:
                taken = self.every()[number].state.is_finished()

        try:
            self.optuna.optimize(objective, n_trials=1, catch=LeftOut)
        except BaseException as error:
            if taken and isinstance(error, Exception):
                screen.say(
                    f"trial {number}: this worker was silent for so long that another one took it "
                    "over; what this one found is left out"
                )
                return
            if number >= 0 and self.every()[number].state == TrialState.FAIL:
                trial_storage.again(self.optuna, self.optuna.get_trials()[number])
            raise

    def value(self, trial: optuna.Trial, folder: pathlib.Path) -> float:
        """Trains as a trial says; an error that is due to its settings ends it alone."""
        settings = self.settings(trial)
        number = first_number(self.every()[trial.number])
        shown = ", ".join(f"{key}={value}" for key, value in settings.items())
        screen.say((f"{self.name}: trial {number}", "bold"), f", {shown}")
        try:
            config = trials.with_settings(self.config, settings)
            return trials.run(config, folder / f"trial_{number}", self.after_validation(trial))
        except (optuna.TrialPruned, Unusable, OSError, *trial_storage.FAULTS):
            raise  # all but the first would end every trial: they are not due to the settings
        except Exception as error:  # such as a loss that is not finite, or too little memory
            reason = str(error)
            if not isinstance(error, UserError):
                traceback.print_exc()
                reason = f"{type(error).__name__}: {error}"
            trial.set_user_attr(ERROR, reason)
            screen.say(f"trial {number} failed: {reason}")
            raise optuna.TrialPruned(reason) from error

    def work(self, folder: pathlib.Path) -> None:
        """Runs trials, beside other workers, until the budget is used.

        Raises:
          UserError: no trial succeeded.
        """
        told = False
        while True:
            with experimental():
                optuna.storages.fail_stale_trials(self.optuna)
            if self.wants_more() and (self.ranked() or len(self.errors()) < HOPELESS):
                self.run_one(folder)
            elif self.in_state(TrialState.RUNNING):  # their workers may die
                if not told:
                    screen.say(
                        f"{self.name}: waiting for trials of other workers; if one dies, its "
                        f"trials are run again here within {trial_storage.DEAD} s"
                    )
                told = True
                time.sleep(trials.WAIT)
            else:
                break
        if in_vain := self.in_vain():
            screen.say(f"{self.name}: {in_vain} draws found no further settings to try")
        if self.budget.pruner != "none" and not any(t.intermediate_values for t in self.trials()):
            screen.say(
                f"{self.name}: the {self.budget.pruner} pruner compared nothing: trials had only "
                "one validation, their last; train.eval_every=STEPS makes more."
            )
        if not self.ranked() and (errors := self.errors()):
            raise UserError(f"no trial succeeded; the last one: {errors[-1]}")


def as_text(settings: Mapping[str, object]) -> str:
    return json.dumps({key: str(value) for key, value in settings.items()}, sort_keys=True)


def make_pruner(budget: Budget) -> optuna.pruners.BasePruner:
    """What ends bad trials early."""
    if budget.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    if budget.pruner == "asha":
        # Successive halving (Jamieson & Talwalkar 2016), asynchronous (Li et al. 2020): judged at
        # the first validation, the third, the ninth …, where the best third so far goes on. The
        # first trials have none to be compared with; where examples are counted, none of them goes
        # on, since each that does costs as much as many that are ended.
        first = THIRD - 1 if budget.validations else 0
        return optuna.pruners.SuccessiveHalvingPruner(1, THIRD, bootstrap_count=first)
    return optuna.pruners.NopPruner()
