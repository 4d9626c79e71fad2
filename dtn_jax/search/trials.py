"""What a trial says of itself: what it does, since when, where."""

from __future__ import annotations

import datetime
import math
import pathlib
from collections.abc import Sequence

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from dtn_jax.search import trial_storage
from dtn_jax.search.trial_storage import SETTINGS, experimental

# Attributes: what a trial sets, which other one does the same, why it could not be done, in which
# folder.
TWIN, ERROR, PLACE, MACHINE = "twin", "error", "place", "machine"


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


def drawn(trials: Sequence[optuna.trial.FrozenTrial]) -> int:
    """How many draws have been made: a trial that is resumed counts once, one that died before it
    could say what it does does not. So an interrupted search draws what an uncut one does."""
    return len({number_of(t) for t in trials if SETTINGS in t.user_attrs})


def stretches(trials: Sequence[optuna.trial.FrozenTrial]) -> dict[int, int]:
    """{trial: for how many stretches, each from one validation to the next, it has trained}.

    What ended between two validations, by its last step or by an error, counts one more than it
    reported; a trial that is resumed counts once.
    """
    found: dict[int, int] = {}
    for trial in trials:
        ended = trial.state == TrialState.COMPLETE or ERROR in trial.user_attrs
        count = max(trial.intermediate_values, default=0) + ended
        found[number_of(trial)] = max(count, found.get(number_of(trial), 0))
    return found


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
