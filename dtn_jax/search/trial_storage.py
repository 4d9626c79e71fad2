"""Where Optuna keeps trials: a database or a journal, in which workers show that they live."""

from __future__ import annotations

import contextlib
import pathlib
import time
import warnings
from collections.abc import Iterator

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from dtn_jax.errors import UserError

JOURNAL = "journal:"
HEARTBEAT = 30  # seconds between a worker's signs of life
DEAD = 120  # a trial whose worker was silent for longer is run again
RETRIES = 5  # of a trial that kills its workers
LOCKED = 100.0  # seconds that a worker waits while another one writes into an SQLite file
OPENINGS = 10  # times that a database is tried to be opened, 0.5 s apart
FAULTS = (StorageInternalError, SQLAlchemyError)  # of a database
BEAT = "beat"  # the attribute of a trial in a journal
EXPECTED = "expected sqlite:///FILE, the URL of a database server, or journal:FILE"


@contextlib.contextmanager
def experimental() -> Iterator[None]:
    """Optuna warns that what it does about dead workers may change; the lower bound is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


with experimental():
    again = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
    again_after_death = RetryHeartbeatStaleTrialCallback(RETRIES, inherit_intermediate_values=True)


class Database(RDBStorage):
    """Its worker's signs of life go on after one that could not be given."""

    def record_heartbeat(self, trial_id: int) -> None:
        with contextlib.suppress(*FAULTS):
            super().record_heartbeat(trial_id)


class Journal(JournalStorage, BaseHeartbeat):
    """A file that may lie in a folder which machines share; Optuna's own has no signs of life."""

    def record_heartbeat(self, trial_id: int) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):
            self.set_trial_system_attr(trial_id, BEAT, time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        since = {
            t._trial_id: max(t.system_attrs.get(BEAT, 0.0), t.datetime_start.timestamp())
            for t in running
        }
        return [number for number, last in since.items() if last < time.time() - DEAD]

    def get_heartbeat_interval(self) -> int:
        return HEARTBEAT

    def get_heartbeat_stale_trial_callback(self) -> RetryHeartbeatStaleTrialCallback:
        return again_after_death


def url_of_file(path: pathlib.Path) -> str:
    """The URL of an SQLite file, whatever letters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def check(url: str) -> str:
    """Returns a storage's URL to be shown, without its password.

    Raises:
      UserError: it names no storage, or one in memory, which workers cannot share.
    """
    if url.startswith(JOURNAL):
        return url
    try:
        read = make_url(url)
        read.get_dialect()
    except (SQLAlchemyError, ValueError) as error:  # not shown: a password may be in it
        raise UserError(f"--storage is not a URL that can be read: {EXPECTED}") from error
    if read.get_backend_name() == "sqlite" and read.database in (None, "", ":memory:"):
        raise UserError(f"storage {url!r} is in memory: {EXPECTED}")
    return read.render_as_string(hide_password=True)


def open_storage(url: str) -> optuna.storages.BaseStorage:
    if url.startswith(JOURNAL):
        return Journal(JournalFileBackend(url.removeprefix(JOURNAL)))
    options: dict = {"pool_pre_ping": True}  # renews connections that the server closed
    if url.startswith("sqlite:"):
        options["connect_args"] = {"timeout": LOCKED}
    with experimental():
        return Database(
            url,
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT,
            grace_period=DEAD,
            heartbeat_stale_trial_callback=again_after_death,
        )


@contextlib.contextmanager
def opened(
    url: str, name: str, pruner: optuna.pruners.BasePruner, higher_is_better: bool
) -> Iterator[optuna.Study]:
    """Makes or loads a study, and reads its trials; closes the storage at the end.

    Raises:
      UserError: the storage cannot be opened or read.
    """
    shown, attempt = check(url), 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction = "maximize" if higher_is_better else "minimize"
    how = {"study_name": name, "direction": direction, "pruner": pruner, "load_if_exists": True}
    while True:
        try:
            storage = open_storage(url)
            study = optuna.create_study(storage=storage, **how)
            study.get_trials()
            break
        except Exception as error:  # each kind of storage has its own
            attempt += 1
            if isinstance(error, IntegrityError | OperationalError) and attempt < OPENINGS:
                time.sleep(0.5)  # another worker makes the same database
                continue
            raise UserError(
                f"storage {shown!r} cannot be opened, or is damaged: {brief(error)}. If it is "
                "damaged, move it away: the search then begins anew, and takes the results of "
                "trials that it draws again from their folders"
            ) from error
    try:
        yield study
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def brief(error: BaseException) -> str:
    """What a storage says, without SQL; Optuna's own words do not tell what was wrong."""
    if isinstance(error, StorageInternalError) and error.__cause__:
        return brief(error.__cause__)
    return (str(error).splitlines() or [type(error).__name__])[0]
