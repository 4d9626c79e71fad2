"""Where Optuna keeps trials: a database, in which workers show that they live."""

from __future__ import annotations

import contextlib
import pathlib
import time
import warnings
from collections.abc import Iterator

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from dtn_jax.errors import UserError

HEARTBEAT = 30  # seconds between a worker's signs of life
DEAD = 120  # a trial whose worker was silent for longer is run again
RETRIES = 5  # of a trial that kills its workers
LOCKED = 100.0  # seconds that a worker waits while another one writes into an SQLite file
OPENINGS = 10  # times that a database is tried to be opened, 0.5 s apart
FAULTS = (StorageInternalError, SQLAlchemyError)  # of a database


class Database(RDBStorage):
    """Its worker's signs of life go on after one that could not be given."""

    def record_heartbeat(self, trial_id: int) -> None:
        with contextlib.suppress(*FAULTS):
            super().record_heartbeat(trial_id)


def url_of_file(path: pathlib.Path) -> str:
    """The URL of an SQLite file, whatever letters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def check(url: str) -> str:
    """Returns a storage's URL to be shown, without its password; raises UserError if it is none."""
    try:
        read = make_url(url)
        read.get_dialect()
    except (SQLAlchemyError, ValueError) as error:  # not shown: a password may be in it
        raise UserError(
            "--storage cannot be read: expected sqlite:///FILE, or the URL of a database server"
        ) from error
    return read.render_as_string(hide_password=True)


def open_storage(url: str) -> RDBStorage:
    options: dict = {"pool_pre_ping": True}  # renews connections that the server closed
    if url.startswith("sqlite:"):
        options["connect_args"] = {"timeout": LOCKED}
    lives = {"heartbeat_interval": HEARTBEAT, "grace_period": DEAD}
    return Database(
        url, engine_kwargs=options, **lives, heartbeat_stale_trial_callback=retry(RETRIES)
    )


def retry(most: int | None = None) -> RetryHeartbeatStaleTrialCallback:
    """Lets a trial be run again, so many times."""
    return RetryHeartbeatStaleTrialCallback(most, inherit_intermediate_values=True)


@contextlib.contextmanager
def opened(
    url: str, name: str, pruner: optuna.pruners.BasePruner, higher_is_better: bool
) -> Iterator[optuna.Study]:
    """Makes or loads a study, and reads its trials; closes the storage at the end.

    Raises:
      UserError: the storage cannot be opened or read.
    """
    shown = check(url)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # It warns that what it does about dead workers may change; the lower bound is pinned.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    direction = "maximize" if higher_is_better else "minimize"
    how = {"study_name": name, "direction": direction, "pruner": pruner, "load_if_exists": True}
    for attempt in range(1, OPENINGS + 1):
        try:
            storage = open_storage(url)
            study = optuna.create_study(storage=storage, **how)
            study.get_trials()
            break
        except Exception as error:  # each kind of storage has its own
            if isinstance(error, IntegrityError | OperationalError) and attempt < OPENINGS:
                time.sleep(0.5)  # another worker makes the same database
                continue
            raise UserError(
                f"storage {shown!r} cannot be opened, or is damaged: {brief(error)}. Move it away, "
                "and the search begins anew"
            ) from error
    try:
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def brief(error: BaseException) -> str:
    """What a storage says, without SQL; Optuna's own words do not tell what was wrong."""
    return f"{error.__cause__ or error}".partition("\n")[0]
