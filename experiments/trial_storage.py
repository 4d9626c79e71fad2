"""Where Optuna keeps a study's trials: SQLite, a database server or a journal, by many workers."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator

import optuna
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import IntegrityError, OperationalError

from dtn_jax.schema import UserError

JOURNAL = "journal:"
HEARTBEAT = 30  # seconds between a worker's signs of life
DEAD = 120  # a trial whose worker was silent for longer is done again
RETRIES = 5
OPENINGS = 10  # times that a database is tried to be opened, 0.5 s apart


def create_study(
    storage: str, name: str, pruner: optuna.pruners.BasePruner
) -> tuple[optuna.storages.BaseStorage, optuna.Study]:
    """Makes or loads a study; workers that make a new database at the same time try again."""
    for attempt in range(OPENINGS):
        try:
            opened = open_storage(storage)
            return opened, optuna.create_study(
                storage=opened,
                study_name=name,
                direction="maximize",
                pruner=pruner,
                load_if_exists=True,
            )
        except Exception as error:  # each kind of storage has its own
            again = isinstance(error, IntegrityError | OperationalError)
            if not again or attempt == OPENINGS - 1:
                raise UserError(f"storage {storage!r} cannot be opened: {error}") from error
            time.sleep(0.5)


def open_storage(url: str) -> optuna.storages.BaseStorage:
    if url.startswith(JOURNAL):
        return JournalStorage(JournalFileBackend(url.removeprefix(JOURNAL)))
    with experimental():
        return RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT,
            grace_period=DEAD,
            heartbeat_stale_trial_callback=retry_later(),
        )


def retry_later() -> RetryHeartbeatStaleTrialCallback:
    """Lets a trial that ended before its time wait to be gone on with."""
    with experimental():
        return RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)


@contextlib.contextmanager
def experimental() -> Iterator[None]:
    """Optuna warns that what it does about dead workers may change; the lower bound is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
