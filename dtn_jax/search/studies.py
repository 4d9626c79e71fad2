"""Optuna's studies as dtn-jax sweep needs them: shared, resumable, each trial done once."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import platform
import time
from collections.abc import Callable, Iterable, Mapping

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from dtn_jax.errors import UserError
from dtn_jax.report import screen
from dtn_jax.search import trial_storage
from dtn_jax.search.budget import Budget, make_sampler
from dtn_jax.search.trial_storage import RETRIES, experimental, go_on_later, run_trial
from dtn_jax.search.trials import (
    ERROR,
    MACHINE,
    PLACE,
    SETTINGS,
    TWIN,
    age,
    at,
    drawn,
    forgotten,
    is_in,
    number_of,
    orphans,
    stretches,
)
from dtn_jax.train import AfterValidation
from dtn_jax.workdir import in_use

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
BEGUN = (*DONE, TrialState.RUNNING)
BEGINNING = 20  # seconds in which a worker that has a trial enters its folder
HOPELESS = 3  # errors before the first success: the sweep ends


class Twin(Exception):
    """Ends a trial as failed: no sampler learns from it, as it would from a pruned one."""


@dataclasses.dataclass(frozen=True)
class Study:
    """An Optuna study of an architecture.

    Attributes:
      name: the architecture.
      optuna: the study in its storage.
      objective: whose validation value it makes better, as `train.select` names it.
      budget: what it may spend.
      storage: of the trials; a database tells which workers live, a journal does not.
      metric: what the objective's metric is called.
    """

    name: str
    optuna: optuna.Study
    objective: str
    budget: Budget
    storage: optuna.storages.BaseStorage
    metric: str = "AUC"

    @property
    def higher_is_better(self) -> bool:
        return self.optuna.direction.name == "MAXIMIZE"

    def ranked(self, trials: Iterable[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
        """Those that are complete, the best first."""
        complete = [t for t in trials if t.state == TrialState.COMPLETE]
        return sorted(complete, key=lambda t: t.value, reverse=self.higher_is_better)

    def close(self) -> None:
        """Ends the connections to the storage."""
        if isinstance(self.storage, RDBStorage):
            self.storage.remove_session()
            self.storage.engine.dispose()

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All but those that only noticed that another worker does the same."""
        return [t for t in self.optuna.get_trials(deepcopy=False) if TWIN not in t.user_attrs]

    def begun(self) -> int:
        """Trials that are done or being done."""
        return sum(t.state in BEGUN for t in self.trials())

    def errors(self) -> list[str]:
        """Why trials could not be done."""
        return [t.user_attrs[ERROR] for t in self.trials() if ERROR in t.user_attrs]

    def reports(self) -> int:
        """Validations that the pruner was told of."""
        return sum(len(t.intermediate_values) for t in self.trials())

    def wants_more(self, folder: pathlib.Path, new: bool = True) -> bool:
        """Whether a trial is left to resume or, where `new` ones can be had, to begin; those
        that others do now are counted."""
        self.bury(folder)
        waiting = any(t.state == TrialState.WAITING for t in self.trials())
        return waiting or (new and self.begun() < self.budget.trials and not self.spent())

    def spent(self) -> bool:
        """Whether the trials have trained on as many examples as they may."""
        return 0 < self.budget.validations <= sum(stretches(self.trials()).values())

    def running(self) -> list[optuna.trial.FrozenTrial]:
        """Those that a worker does, or died of."""
        return [t for t in self.trials() if t.state == TrialState.RUNNING]

    def others_run(self, folder: pathlib.Path) -> bool:
        """Whether a trial is being done by another worker, whose death would be noticed."""
        if isinstance(self.storage, RDBStorage):
            return bool(self.running())
        return any(is_in(folder, t) and in_use(at(folder, t)) is not None for t in self.running())

    def bury(self, folder: pathlib.Path) -> None:
        """Lets dead workers' trials wait to be resumed.

        A database tells them by their heartbeats; a journal does not. With both a trial is dead
        whose folder is in this one and which no process works in, with a database only if this
        machine did it: another's folder of this name may be another. So is one that never said
        what it does.
        """
        beats = isinstance(self.storage, RDBStorage)
        if beats:
            with experimental():
                optuna.storages.fail_stale_trials(self.optuna)
        for trial in self.running():
            here = not beats or trial.user_attrs.get(MACHINE) == platform.node()
            dead = here and is_in(folder, trial) and in_use(at(folder, trial)) is False
            if (dead and age(trial) > BEGINNING) or forgotten(trial):
                self.give_up(trial)
        for trial in orphans(self.trials()) if self.begun() < self.budget.trials else ():
            go_on_later(self.optuna, self.optuna.get_trials()[trial.number])

    def give_up(self, trial: optuna.trial.FrozenTrial, most: int | None = RETRIES) -> None:
        """Says that a trial's worker is dead, unless another one just did; `most`: go_on_later's.

        To the storage: `tell` would let a sampler of grids stop the study, and fail in that.
        """
        try:
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return
        go_on_later(self.optuna, self.optuna.get_trials()[trial.number], most)

    def alone(self) -> None:
        """Called by the only worker: trials that seem to run died, and wait to be resumed."""
        for trial in self.running():
            self.give_up(trial, most=None)

    def run_one(self, objective: Callable[[optuna.Trial], float]) -> bool:
        """Does a trial; returns whether it was one that no other worker does or did.

        Raises:
          UserError: the first HOPELESS trials all ended with an error.
        """
        number, taken = None, False

        def own(trial: optuna.Trial) -> float:
            nonlocal number, taken
            number = trial.number
            try:
                return objective(trial)
            finally:
                taken = self.optuna.get_trials(deepcopy=False)[number].state.is_finished()

        try:
            run_trial(self.optuna, own, catch=Twin)
        except BaseException as error:
            if taken and isinstance(error, Exception):
                screen.say(
                    f"trial {number}: this worker was silent for so long that another one took it "
                    "over; what this one found is left out"
                )
                return False
            if number is not None:  # as after a kill
                go_on_later(self.optuna, self.optuna.get_trials()[number], most=None)
            raise
        errors = self.errors()
        if len(errors) >= HOPELESS and not self.best():
            raise UserError(f"no trial succeeded; the last one: {errors[-1]}")
        return TWIN not in self.optuna.get_trials(deepcopy=False)[number].user_attrs

    def claim(
        self, trial: optuna.Trial, settings: Mapping[str, str], folder: pathlib.Path | None = None
    ) -> int:
        """Says what a trial does, and returns the number under which it is done, in `folder`.

        That is its own, or that of the trial whose worker died. A trial that does what another
        one has done or does, or that is beyond the budget, is ended: of two, the older goes on.
        """
        text = json.dumps(settings, sort_keys=True)
        if folder:
            trial.set_user_attr(PLACE, str(folder.absolute()))
            trial.set_user_attr(MACHINE, platform.node())
        trial.set_user_attr(SETTINGS, text)
        trials = self.settled(trial.number)
        if TWIN in trials[trial.number].user_attrs:  # its worker died before it could say so
            raise Twin
        others = [t for t in trials if TWIN not in t.user_attrs and t.number != trial.number]
        older = [t for t in others if t.number < trial.number]
        begun = [t for t in older if t.state in BEGUN]
        waiting = [t for t in others if t.state == TrialState.WAITING]
        same = [t for t in (*begun, *waiting) if t.user_attrs.get(SETTINGS) == text]
        if same or len(begun) + len(waiting) >= self.budget.trials:
            trial.set_user_attr(TWIN, same[0].number if same else None)
            raise Twin
        return number_of(trials[trial.number])

    def settled(self, number: int) -> list[optuna.trial.FrozenTrial]:
        """All trials, once those before `number` have said what they do, or are dead."""
        end = time.monotonic() + trial_storage.DEAD  # other machines' clocks may differ
        while True:
            trials = self.optuna.get_trials(deepcopy=False)
            running = [t for t in trials[:number] if t.state == TrialState.RUNNING]
            told = all(SETTINGS in t.user_attrs or forgotten(t) for t in running)
            if told or time.monotonic() > end:
                return trials
            time.sleep(0.1)

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

    def draw_anew(self, anew: bool) -> None:
        """Seeds the next draw by those before; `anew`: it is a random one."""
        if not self.budget.grid:  # each of its draws is another
            done = drawn(self.optuna.get_trials(deepcopy=False))
            self.optuna.sampler = make_sampler(self.budget, done, anew)

    def best(self) -> optuna.trial.FrozenTrial | None:
        """Of the trials within the budget; an earlier call may have had a larger one."""
        within = [t for t in self.trials() if t.state in DONE][: self.budget.trials]
        return next(iter(self.ranked(within)), None)
