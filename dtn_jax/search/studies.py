"""A search of settings by Optuna: trials are runs, judged on validation, never on test.

Workers that share a storage share the trials; each is done once, and that of a worker which died is
run again. The best of many trials is partly the luckiest: its value is too good, and another one
may be better. So the first few may be trained anew with seeds that the search has not seen, and the
best by the mean over these wins; what the trials found counts no more.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import json
import pathlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import optuna
from ml_collections import ConfigDict
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.storages._rdb.models import TrialHeartbeatModel, TrialModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, func, select, update
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from dtn_jax.config import differing, identity
from dtn_jax.errors import UserError, reason
from dtn_jax.metrics.selected import higher_is_better
from dtn_jax.parallel.memory import OutOfMemory
from dtn_jax.report import screen
from dtn_jax.run.train import AfterValidation
from dtn_jax.run.workdir import Unusable
from dtn_jax.search import trials
from dtn_jax.search.trials import ERROR, SETTINGS, TRIES, Space

SAMPLERS = ("tpe", "random")
SEEDS = 2**32  # that a sampler takes, from 0
PRUNERS = ("none", "median", "asha")
THIRD = 3  # of the trials, one goes on
OWNER = "config"  # the attribute of a study that says what it was begun with
HOPELESS = 3  # errors before the first success: the search ends
BEGUN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
FIRST_SEED = 101  # of finalists; trials have seed 0, a table's final runs have 1, 2, ...
HEARTBEAT = 30  # seconds between a worker's signs of life
DEAD = 120  # a trial whose worker was silent for longer is resumed
DEATHS = 5  # of workers in a trial, after which it counts as failed
LOCKED = 100.0  # seconds that a worker waits while another one writes into an SQLite file
OPENINGS = 10  # times that a database is tried to be opened, 0.5 s apart
FAULTS = (StorageInternalError, SQLAlchemyError)  # of a database


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a search may spend, and how.

    Attributes:
      trials: that are drawn, over all workers; 0 is no limit.
      sampler, pruner: of SAMPLERS and PRUNERS.
      seed: the sampler's.
      validations: of all trials together, from one of which to the next all train on the same
        number of examples, so that this is a budget of examples; 0 is no limit.
    """

    trials: int = 0
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    validations: int = 0

    def make_pruner(self) -> optuna.pruners.BasePruner:
        """What ends bad trials early.

        `asha` is successive halving (Jamieson & Talwalkar 2016), asynchronous (Li et al. 2020):
        judged at the first validation, the third, the ninth …, where the best third so far goes on.
        The first trials have none to be compared with; where examples are counted, none of them
        goes on, since each that does costs as much as many that are ended.
        """
        first = THIRD - 1 if self.validations else 0
        return {
            "none": optuna.pruners.NopPruner(),
            "median": optuna.pruners.MedianPruner(n_startup_trials=5),
            "asha": optuna.pruners.SuccessiveHalvingPruner(1, THIRD, bootstrap_count=first),
        }[self.pruner]

    def make_sampler(self, place: int) -> optuna.samplers.BaseSampler:
        """What suggests the settings of the draw in this place."""
        seed = (self.seed + 1_000_003 * place) % SEEDS
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        # Trials that others do count as bad: workers don't all try the same.
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


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


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
      objective: as `train.select` names it.
      budget: what it had, and how many trials ended in which way.
      value: the objective of the winner on validation: of its trial, or its mean over the seeds of
        finalists; None without a winner.
      settings: the winner's, {option: value}.
      at_edge: the winner's options that lie at an edge of their range.
      stretches: from one validation to the next, that all trials together have trained on.
      finalists: the best first; [] where none was trained again.
    """

    objective: str
    budget: dict
    value: float | None
    settings: dict[str, str]
    at_edge: list[str]
    stretches: dict[int, int]
    finalists: list[Finalist]

    as_dict = dataclasses.asdict


@dataclasses.dataclass(frozen=True)
class Study:
    """A search of settings for a config.

    Attributes:
      name: of what is searched, for messages.
      optuna: the study in its storage.
      config: what trials start from.
      suggest: what they are asked to set; None: no more are tried than are given.
      budget: what they may spend.
      folder: of the trials' runs.
    """

    name: str
    optuna: optuna.Study
    config: ConfigDict
    suggest: Space | None
    budget: Budget
    folder: pathlib.Path

    def claim(self, data: str) -> None:
        """Says what the study is of: a config, its objective among it, and a data set.

        Raises:
          UserError: it was begun with others.
        """
        options = {key: str(value) for key, value in identity(self.config).items()}
        stored = self.optuna.user_attrs.get(OWNER)
        if stored is None:
            self.optuna.set_user_attr(OWNER, {"config": options, "data": data})
            return
        others = sorted(differing(identity(stored["config"]), options))
        if others := others + ["data"] * (stored["data"] != data):
            raise UserError(
                f"the study {self.optuna.study_name!r} was begun with another {', '.join(others)}; "
                "give another --study, --workdir or --storage"
            )

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """All in one of these states, or in any."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def ranked(self) -> list[FrozenTrial]:
        """Those that are complete, the best first."""
        complete = self.trials(TrialState.COMPLETE)
        return sorted(complete, key=lambda trial: self.sign() * trial.value, reverse=True)

    def sign(self) -> int:
        """1 where a higher value is better, else -1."""
        return 1 if self.optuna.direction.name == "MAXIMIZE" else -1

    def errors(self) -> list[str]:
        """Why trials could not be done."""
        return [t.user_attrs[ERROR] for t in self.trials() if ERROR in t.user_attrs]

    def spent(self) -> bool:
        """Whether the trials have trained on as many examples as they may."""
        return 0 < self.budget.validations <= sum(trials.stretches(self.trials()).values())

    def wants_more(self) -> bool:
        """Whether a trial waits, or a new one may be drawn."""
        return bool(self.trials(TrialState.WAITING)) or self.may_draw()

    def may_draw(self) -> bool:
        """Whether the budget has room for a new trial, and there is a space to draw from."""
        within = not self.budget.trials or len(self.trials(*BEGUN)) < self.budget.trials
        return within and self.suggest is not None and not self.spent()

    def enqueue(self, settings: Iterable[Mapping[str, object]]) -> None:
        """Lets these settings be tried, each once; those of a trial that failed, and was not begun
        again, anew."""
        every = self.trials(*BEGUN, TrialState.WAITING)
        known = {trial.user_attrs.get(SETTINGS) for trial in every}
        for text in dict.fromkeys(map(as_text, settings)):
            if text not in known:
                self.optuna.enqueue_trial({}, user_attrs={SETTINGS: text})

    def resume_dead(self, seconds: float = 0) -> None:
        """Lets trials wait again whose worker gave no sign of life for so long."""
        self.optuna._storage._backend.resume_dead(self.optuna._study_id, seconds)

    def settings(self, trial: optuna.Trial) -> dict[str, str]:
        """What a trial sets, by what it was given, else by what is drawn for it.

        The draw depends on the trial's number: an interrupted search draws what an uncut one does.

        Raises:
          TrialPruned: an earlier trial sets the same.
        """
        if SETTINGS not in trial.user_attrs:
            self.optuna.sampler = self.budget.make_sampler(trial.number)
            trial.set_user_attr(SETTINGS, as_text(trials.settings_of(self.suggest, trial)))
        text = trial.user_attrs[SETTINGS]
        every = self.trials(*BEGUN, TrialState.WAITING)
        if text in [t.user_attrs.get(SETTINGS) for t in every if t.number < trial.number]:
            raise optuna.TrialPruned("an earlier trial sets the same")
        return json.loads(text)

    def after_validation(self, trial: optuna.Trial) -> AfterValidation:
        """Reports each validation to the pruner, and ends the trial when that says so."""

        def report(number: int, values: Mapping[str, float | None]) -> None:
            value = values[self.config.train.select]
            if value is not None:
                trial.report(value, number)
                if trial.user_attrs[TRIES] > 1:  # it gets on
                    trial.set_user_attr(TRIES, 1)
                if self.spent() or trial.should_prune():
                    raise optuna.TrialPruned

        return report

    def value(self, trial: optuna.Trial) -> float:
        """Trains as a trial says; an error that is due to its settings ends it alone."""
        settings = self.settings(trial)
        shown = ", ".join(f"{key}={value}" for key, value in settings.items())
        screen.say((f"{self.name}: trial {trial.number}", "bold"), f", {shown}")
        try:
            if trial.user_attrs[TRIES] > DEATHS:
                raise UserError(f"its worker died {DEATHS} times")
            trials.check_settings(settings)
            config = trials.with_settings(self.config, settings)
            folder = self.folder / f"trial_{trial.number}"
            return trials.run(config, folder, self.after_validation(trial))
        except (optuna.TrialPruned, Unusable, OSError, *FAULTS):
            raise  # all but the first would end every trial: they are not due to the settings
        except Exception as error:  # such as a loss that is not finite, or too little memory
            trial.set_user_attr(ERROR, why := reason(error))
            screen.say(f"trial {trial.number} failed: {why}")
            raise optuna.TrialPruned(why) from error

    def work(self) -> None:
        """Runs trials, beside other workers, until the budget is used.

        Raises:
          UserError: no trial succeeded.
        """
        waits = False
        while True:
            self.resume_dead(DEAD)
            if self.wants_more() and (self.ranked() or len(self.errors()) < HOPELESS):
                self.run_trial()
            elif self.trials(TrialState.RUNNING):  # their workers may die
                if not waits:
                    screen.say(f"{self.name}: waiting for trials of other workers")
                waits = True
                time.sleep(trials.WAIT)
            else:
                break
        if not self.ranked() and (errors := self.errors()):
            raise UserError(f"no trial succeeded; the last one: {errors[-1]}")

    def run_trial(self) -> None:
        """Runs a trial that waits, or a new one; one that is interrupted waits again.

        Where a full disk keeps that, or its end, from being stored, it counts as running until its
        worker counts as dead.
        """
        if not self.trials(TrialState.WAITING) and self.may_draw():
            self.optuna.enqueue_trial({})
        storage = self.optuna._storage
        if (claimed := self.optuna._pop_waiting_trial_id()) is None:
            return  # another worker has claimed it
        trial, value = optuna.Trial(self.optuna, claimed), None
        tries = trial.user_attrs.get(TRIES, 0)
        with get_heartbeat_thread(claimed, storage):
            try:
                trial.set_user_attr(TRIES, tries + 1)
                value, state = self.value(trial), TrialState.COMPLETE
            except optuna.TrialPruned:
                state = TrialState.PRUNED
            except BaseException:
                trial.set_user_attr(TRIES, tries)  # it did not die
                storage.set_trial_state_values(claimed, TrialState.WAITING)
                raise
        # Else another worker, which took this one for dead, ended it, or will find its results.
        if self.trials()[trial.number].state == TrialState.RUNNING:
            self.optuna.tell(trial, value, state, skip_if_finished=True)

    def leading(self, most: int) -> list[FrozenTrial]:
        """The best trials: first those that trained to the end, then those that came furthest."""
        pruned = self.trials(TrialState.PRUNED)
        cut = [t for t in pruned if t.intermediate_values and ERROR not in t.user_attrs]
        cut.sort(key=lambda t: self.sign() * t.intermediate_values[t.last_step], reverse=True)
        cut.sort(key=lambda t: t.last_step, reverse=True)
        return [*self.ranked(), *cut][:most]

    def run_off(self, most: int, seeds: int) -> list[Finalist]:
        """Trains the best settings again, on validation alone; returns them, the best first.

        A single one is not trained again: its trial's value is what it has. Each run has a folder
        of its own beside those of the trials, and resumes there.

        Raises:
          UserError: no run of a finalist ended well.
        """
        chosen = [self.finalist(trial) for trial in self.leading(most)]
        if len(chosen) > 1:
            for one in chosen:
                one.values[:] = [self.again_with(one, FIRST_SEED + i) for i in range(seeds)]
        # Without a value it was luck that its trial ended well.
        finalists = [one for one in chosen if None not in one.values]
        if chosen and not finalists:
            raise UserError(f"{self.name}: none of the best settings could be trained again")
        return sorted(finalists, key=lambda one: -self.sign() * statistics.mean(one.values))

    def finalist(self, t: FrozenTrial) -> Finalist:
        return Finalist(t.number, trials.settings_in(t), [t.value], trials.at_edge(t))

    def again_with(self, one: Finalist, seed: int) -> float | None:
        """The objective of settings with another seed; None where training failed."""
        folder = self.folder / f"finalist_{one.trial}_seed_{seed}"
        screen.say((f"{self.name}: {folder.name}", "bold"), f", {one.settings}")
        try:
            settings = one.settings | {"seed": str(seed)}
            return trials.run(trials.with_settings(self.config, settings), folder)
        except (Unusable, OutOfMemory):
            raise  # that is not due to the settings
        except UserError as error:  # such as a loss that is not finite
            screen.say(f"seed {seed} failed: {error}")
            return None

    def outcome(self, finalists: Sequence[Finalist] = ()) -> Found:
        """What has been found as yet."""
        every = self.trials()
        leading = finalists or [self.finalist(trial) for trial in self.ranked()[:1]]
        winner = leading[0] if leading else None
        return Found(
            objective=self.config.train.select,
            budget={
                "trials": self.budget.trials,
                "sampler": self.budget.sampler if self.suggest else "grid",
                "pruner": self.budget.pruner,
                **collections.Counter(map(trials.kind, every)),
            },
            value=statistics.mean(winner.values) if winner else None,
            settings=winner.settings if winner else {},
            at_edge=winner.at_edge if winner else [],
            stretches=trials.stretches(every),
            finalists=[*finalists],
        )


def search(
    config: ConfigDict,
    suggest: Space | None,
    folder: pathlib.Path,
    budget: Budget,
    *,
    name: str = "",
    storage: str = "",
    stored_as: str = "",
    data: str = "",
    enqueue: Iterable[Mapping[str, object]] = (),
    finalists: int = 0,
    finalist_seeds: int = 3,
    alone: bool = False,
    report: Callable[[Study], None] = lambda study: None,
) -> Found:
    """Searches settings on validation; see the module.

    Args:
      config: what trials start from.
      suggest: what they are asked to set; None: no more are tried than are given.
      folder: of their runs.
      budget: what they may spend.
      name: of what is searched, for messages; "" is the architecture.
      storage: the URL of the storage; "" is sweep.db in the folder.
      stored_as: the study's name in the storage; "" is `name`.
      data: the fingerprint of the data set.
      enqueue: settings that are tried first.
      finalists, finalist_seeds: how many of the best are trained again, and how many times each.
      alone: whether there is no other worker.
      report: called at the end, however the work ended.

    Raises:
      UserError: the study there is of another config or data set, no trial succeeded, or the
        storage does not answer.
    """
    storage = storage or url_of_file(folder / "sweep.db")
    shown_url(storage)
    folder.mkdir(parents=True, exist_ok=True)
    name = name or config.model.architecture
    how = (budget.make_pruner(), higher_is_better(config.train.select))
    try:
        with opened(storage, stored_as or name, *how) as stored:
            study = Study(name, stored, config, suggest, budget, folder)
            study.claim(data)
            if alone:
                study.resume_dead()
            study.enqueue(enqueue)
            try:
                study.work()
                return study.outcome(study.run_off(finalists, finalist_seeds))
            finally:
                report(study)
    except FAULTS as error:
        raise UserError(f"the storage does not answer: {brief(error)}") from error


def as_text(settings: Mapping[str, object]) -> str:
    return json.dumps({key: str(value) for key, value in settings.items()}, sort_keys=True)


# ---------------------------------------------------------------- where trials are kept


class Database(RDBStorage):
    """Its worker's signs of life go on after one that could not be given."""

    def record_heartbeat(self, trial_id: int) -> None:
        with contextlib.suppress(*FAULTS):
            super().record_heartbeat(trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if state == TrialState.RUNNING:  # one without a sign of life would run for ever
            super().record_heartbeat(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def resume_dead(self, study_id: int, seconds: float) -> None:
        """Lets trials wait again whose worker gave no sign of life for so long; in one statement,
        so that none is taken from a worker that has claimed it since."""
        with self.scoped_session.begin() as transaction:
            session = transaction.session
            now = session.scalar(select(func.now())).replace(tzinfo=None)
            silent = TrialHeartbeatModel.heartbeat <= now - datetime.timedelta(seconds=seconds)
            silent = TrialModel.trial_id.in_(select(TrialHeartbeatModel.trial_id).where(silent))
            running = (TrialModel.study_id == study_id, TrialModel.state == TrialState.RUNNING)
            waiting = update(TrialModel).values(state=TrialState.WAITING)
            session.execute(waiting.where(*running, silent))


def begin_alone(connection: Connection) -> None:
    """One transaction at a time: SQLite has no SELECT … FOR UPDATE, by which Optuna keeps two
    workers from claiming the same trial."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def url_of_file(path: pathlib.Path) -> str:
    """The URL of an SQLite file, whatever letters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def shown_url(url: str) -> str:
    """Returns a storage's URL to be shown, without its password; raises UserError if it is none."""
    try:
        read = make_url(url)
        read.get_dialect()
    except (SQLAlchemyError, ValueError) as error:  # not shown: a password may be in it
        raise UserError(
            "--storage cannot be read: expected sqlite:///FILE, or the URL of a database server"
        ) from error
    return read.render_as_string(hide_password=True)


@contextlib.contextmanager
def opened(
    url: str, name: str, pruner: optuna.pruners.BasePruner, higher_is_better: bool
) -> Iterator[optuna.Study]:
    """Makes or loads a study, and reads its trials; closes the storage at the end.

    Raises:
      UserError: the storage cannot be opened or read.
    """
    shown = shown_url(url)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # It warns that its signs of life may change; the lower bound is pinned.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", "Heartbeat of storage")  # `run_trial` gives it
    direction = "maximize" if higher_is_better else "minimize"
    options: dict = {"pool_pre_ping": True}  # renews connections that the server closed
    if url.startswith("sqlite:"):
        options["connect_args"] = {"timeout": LOCKED}
    how = {"study_name": name, "direction": direction, "pruner": pruner, "load_if_exists": True}
    for attempt in range(1, OPENINGS + 1):
        try:
            storage = Database(url, heartbeat_interval=HEARTBEAT, engine_kwargs=options)
            if storage.engine.name == "sqlite":
                event.listen(storage.engine, "begin", begin_alone)
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
