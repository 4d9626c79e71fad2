"""Where Optuna keeps a study's trials: SQLite, a database server or a journal, by many workers."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator

import optuna
from optuna.samplers import GridSampler
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from dtn_jax.errors import UserError
from dtn_jax.report import screen
from dtn_jax.search.storage_urls import JOURNAL, check, shown, without_secrets

SETTINGS = "settings"  # the attribute by which a trial says what it does
HEARTBEAT = 30  # seconds between a worker's signs of life
DEAD = 120  # a trial whose worker was silent for longer is done again
RETRIES = 5  # silent deaths of a trial's workers, as of one that kills them, after which it ends
LOCKED = 100.0  # seconds that a worker waits while another one writes into an SQLite file
OPENINGS = 10  # times that a database is tried to be opened, 0.5 s apart
FAULTS = (optuna.exceptions.StorageInternalError, SQLAlchemyError)  # of a database


class Database(RDBStorage):
    """One whose worker's signs of life go on after one that could not be given."""

    def record_heartbeat(self, trial_id: int) -> None:
        with contextlib.suppress(*FAULTS):
            super().record_heartbeat(trial_id)


def create_study(
    storage: str, name: str, pruner: optuna.pruners.BasePruner, higher_is_better: bool = True
) -> tuple[optuna.storages.BaseStorage, optuna.Study]:
    """Makes or loads a study; workers that make a new database at the same time try again."""
    check(storage)
    for attempt in range(OPENINGS):
        try:
            opened = open_storage(storage)
            return opened, optuna.create_study(
                storage=opened,
                study_name=name,
                direction="maximize" if higher_is_better else "minimize",
                pruner=pruner,
                load_if_exists=True,
            )
        except Exception as error:  # each kind of storage has its own
            again = isinstance(error, IntegrityError | OperationalError)
            if not again or attempt == OPENINGS - 1:
                reason = without_secrets(brief(error), storage)
                raise UserError(f"storage {shown(storage)!r} cannot be opened: {reason}") from error
            time.sleep(0.5)


def open_storage(url: str) -> optuna.storages.BaseStorage:
    if url.startswith(JOURNAL):
        return JournalStorage(JournalFileBackend(url.removeprefix(JOURNAL)))
    options: dict = {"pool_pre_ping": True}  # renews connections that the server closed
    if url.startswith("sqlite:"):
        options["connect_args"] = {"timeout": LOCKED}
    with experimental():
        return Database(
            url,
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT,
            grace_period=DEAD,
            heartbeat_stale_trial_callback=go_on_later,
        )


def brief(error: BaseException) -> str:
    """What a storage says, without the SQL by which it came to that.

    Optuna's own words do not tell what was wrong; those of its cause do.
    """
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        return brief(error.__cause__)
    return (str(error).splitlines() or [type(error).__name__])[0]


def run_trial(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    catch: type[Exception],
) -> None:
    """Runs the next trial, as `optuna.Study.optimize` does.

    Optuna's own clean-up fails where an interruption comes into it; the interruption is raised.
    """
    try:
        study.optimize(objective, n_trials=1, catch=catch)
    except UnboundLocalError as error:
        if isinstance(error.__context__, KeyboardInterrupt | SystemExit):
            raise error.__context__ from None
        raise


def go_on_later(
    study: optuna.Study, trial: optuna.trial.FrozenTrial, most: int | None = RETRIES
) -> None:
    """Lets a trial that ended before its time wait to be resumed, at most so many times.

    One that had not said what it does is nothing to resume: the next draw is that one, but of a
    grid, which does not draw a point twice.
    """
    if SETTINGS not in trial.user_attrs and not isinstance(study.sampler, GridSampler):
        return
    with experimental():
        before = RetryHeartbeatStaleTrialCallback.retry_history(trial)
        if most is None or len(before) < most:
            RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, trial)
        else:
            screen.say(
                f"trial {before[0]} is given up: its workers died without a word, or were "
                f"interrupted, {most + 1} times"
            )


@contextlib.contextmanager
def experimental() -> Iterator[None]:
    """Optuna warns that what it does about dead workers may change; the lower bound is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
