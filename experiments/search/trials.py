"""What a trial says of itself: what it does, since when, where."""

from __future__ import annotations

import datetime
import math
import pathlib
from collections.abc import Sequence

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from . import trial_storage
from .trial_storage import experimental

# Attributes: what a trial sets, which other one does the same, why it could not be done, in which
# folder.
SETTINGS, TWIN, ERROR, PLACE, MACHINE = "settings", "twin", "error", "place", "machine"


def age(trial: optuna.trial.FrozenTrial) -> float:
    """Seconds since a trial began."""
    return (datetime.datetime.now() - trial.datetime_start).total_seconds()


def forgotten(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether its worker died before it could say what it does, which takes moments."""
    return SETTINGS not in trial.user_attrs and age(trial) > trial_storage.DEAD


def orphans(trials: Sequence[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Trials that ended before their time and whose settings no other has: their worker died, or
    its disk was full, before it could say that they wait."""
    with experimental():
        history = {t.number: RetryHeartbeatStaleTrialCallback.retry_history(t) for t in trials}
    gone_on = {number for before in history.values() for number in before}
    others = {t.user_attrs.get(SETTINGS) for t in trials if t.state != TrialState.FAIL}
    return [
        t
        for t in trials
        if t.state == TrialState.FAIL
        and t.user_attrs.get(SETTINGS) not in {None, *others}
        and TWIN not in t.user_attrs
        and t.number not in gone_on
        and len(history[t.number]) < trial_storage.RETRIES  # others were given up
    ]


def number_of(trial: optuna.trial.FrozenTrial) -> int:
    """The number under which a trial is done: its own, or that of the one it goes on with."""
    with experimental():
        died = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if died is None else died


def at(folder: pathlib.Path, trial: optuna.trial.FrozenTrial) -> pathlib.Path:
    return folder / f"trial_{number_of(trial)}"


def is_in(folder: pathlib.Path, trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial is done in `folder`, not in another workdir."""
    return trial.user_attrs.get(PLACE) == str(folder.absolute())


def all_tried(trials: Sequence[optuna.trial.FrozenTrial]) -> bool:
    """Whether every point of a space of choices and whole numbers has been tried."""
    spaces = {name: d for t in trials for name, d in t.distributions.items()}
    if any(isinstance(d, optuna.distributions.FloatDistribution) for d in spaces.values()):
        return False
    points = math.prod(
        len(d.choices)
        if isinstance(d, optuna.distributions.CategoricalDistribution)
        else 1 + (d.high - d.low) // d.step
        for d in spaces.values()
    )
    return len({t.user_attrs[SETTINGS] for t in trials if SETTINGS in t.user_attrs}) >= points
