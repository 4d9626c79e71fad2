"""A worker of a sweep: runs trials until the study has used its budget."""

from __future__ import annotations

import math
import pathlib
import time
import traceback
from collections.abc import Mapping

import optuna
from ml_collections import ConfigDict

from dtn_jax.config import override
from dtn_jax.errors import UserError
from dtn_jax.metrics.selected import read_selection
from dtn_jax.report import screen
from dtn_jax.search import sweep_report, trial_storage
from dtn_jax.search.search_space import Space, settings_of
from dtn_jax.search.studies import Study
from dtn_jax.search.trials import ERROR, all_tried, at
from dtn_jax.train import AfterValidation, train
from dtn_jax.workdir import Busy, Unusable, found

OBJECTIVE = "train.select (the objective)"
SEARCHED = 200  # draws in a row of settings already tried: hardly any others are left
STUBBORN = 2  # such draws, after which the sampler is not asked again before a new one is found
WAIT = 5  # seconds between two looks at other workers


def work(study: Study, config: ConfigDict, space: Space, folder: pathlib.Path) -> None:
    """Runs trials, beside other workers, until the study has used its budget."""

    def objective(trial) -> float:
        settings = settings_of(space, trial)
        number = study.claim(trial, settings, folder)
        given = ConfigDict(config.to_dict()).lock()
        for key, value in settings.items():
            override(given, key, value)
        done = f"{study.begun()} of {study.budget.trials}"
        screen.say((f"{study.name}: trial {number}", "bold"), f", {done}: {settings}")
        place, after_validation = folder / f"trial_{number}", study.after_validation(trial)
        try:
            results = train_when_free(given, place, after_validation)
            return value_of(results["validation"], study.objective)
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

    check_values(study, folder)
    twins, told = 0, False  # twins: in a row
    with sweep_report.live(study) as show:
        while True:
            searched = twins >= SEARCHED or (twins and all_tried(study.trials()))
            if study.wants_more(folder, new=not searched):
                study.draw_anew(twins >= STUBBORN)
                twins = 0 if study.run_one(objective) else twins + 1
                if not twins:
                    show()
            elif study.others_run(folder):  # they may die
                if not told:
                    screen.say(
                        f"{study.name}: waiting for trials of other workers; if one dies, its "
                        f"trials resume here within {trial_storage.DEAD} s"
                    )
                told = True
                time.sleep(WAIT)
            else:
                break
    if twins:
        why = "the space has no" if all_tried(study.trials()) else f"{twins} draws found no"
        screen.say((study.name, "bold"), f": {why} further settings to try.")
    if study.budget.pruner != "none" and not study.reports():
        screen.say(
            (study.name, "bold"),
            f": the {study.budget.pruner} pruner compared nothing: trials had "
            "only one validation, their last; train.eval_every=STEPS makes more.",
        )
    if not study.best() and (errors := study.errors()):
        raise UserError(f"no trial succeeded; the last one: {errors[-1]}")
    if left := [str(t.number) for t in study.running()]:
        screen.say(
            (study.name, "bold"),
            f": trial {', '.join(left)} runs in a worker with another workdir, or died there: a "
            "journal does not record which. Run this command there again.",
        )


def check_values(study: Study, folder: pathlib.Path) -> None:
    """Raises UserError where the storage has another value of a trial than the trial's folder."""
    for trial in study.ranked(study.trials()):
        place = at(folder, trial)
        results = found.read(place) if place.is_dir() else None
        if not results:
            continue
        value = value_of(results["validation"], study.objective)
        if not math.isclose(value, trial.value, rel_tol=1e-6):  # not a number is close to none
            raise UserError(
                f"the storage says that trial {trial.number} found {trial.value:.6g}, but "
                f"{place / found.RESULTS} has {value:.6g}: the storage was edited or is damaged. "
                "Move it away: the search then begins anew"
            )


def train_when_free(
    config: ConfigDict, folder: pathlib.Path, after_validation: AfterValidation
) -> dict:
    """A trial's results; waits if a worker that was taken for dead still works in its folder."""
    told = False
    while True:
        try:
            return train(config, folder, test=False, after_validation=after_validation)
        except Busy:
            if not told:
                screen.say(f"another worker still works in {folder}: waiting for it")
            told = True
            time.sleep(WAIT)


def value_of(validation: Mapping[str, Mapping], objective: str) -> float:
    """The objective's value; its metrics are those in the space of each task's loss."""
    own: dict[str, Mapping] = {}
    for key, metrics in validation.items():  # a task's own space is the first reported
        own.setdefault(key.partition("@")[0], metrics)
    value = read_selection(OBJECTIVE, objective, own).value(own)
    if value is None:
        raise UserError(f"the validation metric of {objective} is not defined: a class is absent")
    return value
