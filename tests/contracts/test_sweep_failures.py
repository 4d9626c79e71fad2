"""Trials, storages and workers of a sweep that fail, are interrupted or die."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import types

import optuna
import pytest
from command_calls import ROOT
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel
from optuna.trial import TrialState
from small_runs import small
from sqlalchemy.exc import OperationalError
from sweeps import CONFIG, run

from dtn_jax.errors import UserError
from dtn_jax.run.workdir import Busy
from dtn_jax.search import studies, trials
from dtn_jax.search import sweep as searches
from dtn_jax.search.studies import Study

PAIR = "--grid=model.dropout=0,0.1"
pytestmark = pytest.mark.usefixtures("quick_storages")


def test_trials_that_fail_are_told_and_cost_no_other(monkeypatch, prepared_dir, tmp_path, capsys):
    """By a loss that is not finite, by memory, or by what an architecture needs."""

    def train(config, workdir, *, test, after_validation):
        if failing == "all":
            raise UserError("esmm needs a funnel")
        if config.model.dropout == 0.1:
            raise UserError("the loss [/job:0] is not finite")
        if config.model.dropout == 0.2:
            raise MemoryError("RESOURCE_EXHAUSTED: 80 GiB")
        return {"validation": {"income@all": {"auc": 0.8}}, "selected_by": "mean"}

    monkeypatch.setattr(trials, "train", train)
    monkeypatch.setattr(searches, "draw", lambda *_: None)
    failing, grid = "some", "--grid=model.dropout=0,0.1,0.2,0.3,0.4"
    budget = run(tmp_path / "some", prepared_dir, grid)["budget"]
    assert (budget["complete"], budget["failed"]) == (3, 2)
    said = " ".join(capsys.readouterr().out.split())
    assert "failed: the loss [/job:0] is not finite" in said
    assert "failed: MemoryError: RESOURCE_EXHAUSTED: 80 GiB" in said
    failing = "all"
    with pytest.raises(UserError, match=r"^no trial succeeded; the last one: esmm needs a funnel"):
        run(tmp_path / "all", prepared_dir, grid)
    assert capsys.readouterr().out.count("failed: esmm") == 3  # all would
    assert not (tmp_path / "all/sweep.json").exists()


def silence(folder):
    """Lets all signs of life be so old that their workers count as dead."""
    with contextlib.closing(sqlite3.connect(folder / "sweep.db")) as database, database:
        older = (f"-{studies.DEAD + 1} seconds",)
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, ?)", older)


@pytest.fixture
def impatient(monkeypatch, tmp_path):
    """Who waits for trials of other workers finds these dead at once."""
    impatience = types.SimpleNamespace(sleep=lambda _: silence(tmp_path))
    monkeypatch.setattr(studies, "time", impatience)


def disk_is_full(*_, **__):
    raise OperationalError("INSERT", {}, Exception("database or disk is full"))


def fill_disk(patch):
    """From now on nothing is stored of a trial."""
    for name in ("record_heartbeat", "set_trial_state_values", "set_trial_user_attr"):
        patch.setattr(RDBStorage, name, disk_is_full)


def opened(folder):
    """A study of a worker by itself."""
    url = studies.url_of_file(folder / "sweep.db")
    return studies.opened(url, "s", optuna.pruners.NopPruner(), True)


FULL = OSError("no space left on device")


@pytest.mark.parametrize(
    ("error", "stored"), [(KeyboardInterrupt(), True), (FULL, True), (FULL, False)]
)
def test_an_interrupted_trial_waits_to_be_gone_on_with(
    error, stored, monkeypatch, trained, prepared_dir, tmp_path, impatient
):
    """What was found before is written; all is drawn as in an uncut search, and done once; also
    where the full disk kept all that the worker would have stored of that trial."""
    run(tmp_path / "uncut", prepared_dir, "--trials=3")
    uncut, once = [config.optim.learning_rate for _, _, config in trained], trials.train
    trained.clear()

    with monkeypatch.context() as patch:

        def interrupted(*args, **kwargs):
            if not trained:
                return once(*args, **kwargs)
            if not stored:
                fill_disk(patch)
            raise error

        patch.setattr(trials, "train", interrupted)
        with pytest.raises(type(error) if stored else UserError):
            run(tmp_path, prepared_dir, "--trials=3")
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert float(found["settings"]["optim.learning_rate"]) == uncut[0]
    run(tmp_path, prepared_dir, "--trials=3")
    rates = {name: config.optim.learning_rate for _, name, config in trained}
    assert rates == {f"trial_{n}": rate for n, rate in enumerate(uncut)}
    assert len(trained) == len(uncut)
    assert list(rates)[1] == ("trial_1" if stored else "trial_2")  # until its worker counts as dead


def test_a_trial_that_kills_its_workers_fails_in_the_end(
    trained, prepared_dir, tmp_path, monkeypatch, capsys
):
    class Killed(BaseException):
        """The worker dies before it can store anything."""

    def killed(*_, **__):
        fill_disk(patch)
        raise Killed

    monkeypatch.setattr(studies, "DEATHS", 2)
    monkeypatch.setattr(studies, "DEAD", -1)  # at once
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(UserError, match="disk is full"):
            patch.setattr(trials, "train", killed)
            run(tmp_path, prepared_dir, PAIR)
    assert run(tmp_path, prepared_dir, PAIR)["budget"]["complete"] == 1
    assert "trial 0 failed: its worker died 2 times" in capsys.readouterr().out
    assert [name for _, name, _ in trained] == ["trial_1"]


def test_a_point_that_was_lost_is_tried_by_the_next_call(
    trained, prepared_dir, tmp_path, monkeypatch
):
    """As by Ctrl-C in the moment before its run begins."""

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "settings", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, prepared_dir, PAIR)
    assert run(tmp_path, prepared_dir, PAIR)["budget"]["complete"] == 2
    assert sorted(config.model.dropout for _, _, config in trained) == [0, 0.1]


def test_a_fault_of_the_storage_is_not_one_of_the_settings(
    trained, prepared_dir, tmp_path, monkeypatch
):
    def fails(trial, value, step):
        raise optuna.exceptions.StorageInternalError("the server restarts")

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "report", fails)
        with pytest.raises(UserError, match=r"^the storage does not answer: the server restarts"):
            run(tmp_path, prepared_dir, PAIR)
    found = run(tmp_path, prepared_dir, PAIR)
    assert found["budget"]["complete"] == 2
    assert "failed" not in found["budget"]
    assert [name for _, name, _ in trained].count("trial_0") == 2  # it was resumed


@pytest.mark.filterwarnings("ignore:The reported value is ignored")  # `trained` reports again
def test_a_trial_whose_end_cannot_be_stored_is_resumed(
    trained, prepared_dir, tmp_path, monkeypatch, impatient
):
    store = RDBStorage.set_trial_state_values

    def fails(storage, trial_id, state, values=None):
        return (disk_is_full if state.is_finished() else store)(storage, trial_id, state, values)

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_trial_state_values", fails)
        with pytest.raises(UserError, match="disk is full"):
            run(tmp_path, prepared_dir, PAIR)
    assert run(tmp_path, prepared_dir, PAIR)["budget"]["complete"] == 2


def test_a_worker_gives_signs_of_life_after_one_that_failed(monkeypatch, tmp_path):
    beats, beat, third = [], RDBStorage.record_heartbeat, threading.Event()

    def record(storage, trial_id):
        beats.append(trial_id)
        if len(beats) == 2:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        beat(storage, trial_id)
        if len(beats) == 3:
            third.set()

    monkeypatch.setattr(RDBStorage, "record_heartbeat", record)
    monkeypatch.setattr(studies, "HEARTBEAT", 0.1)
    with opened(tmp_path) as study:
        study.optimize(lambda trial: float(third.wait(10)), n_trials=1)
    assert study.best_value == 1


def test_a_trial_that_waited_counts_by_its_new_workers_sign_of_life(tmp_path):
    with opened(tmp_path) as study:
        study.enqueue_trial({})
        for _ in range(2):
            assert study._pop_waiting_trial_id() == 1
            silence(tmp_path)
            study._storage._backend.resume_dead(study._study_id, 2 * studies.DEAD)
            assert study.trials[0].state == TrialState.RUNNING
            study._storage._backend.resume_dead(study._study_id, studies.DEAD)
            assert study.trials[0].state == TrialState.WAITING


def test_a_trial_that_two_workers_see_waiting_is_claimed_by_one(monkeypatch, tmp_path):
    both, find = threading.Barrier(2), TrialModel.find_or_raise_by_id.__func__

    def find_beside_another(cls, trial_id, session, for_update=False):
        trial = find(cls, trial_id, session, for_update)
        if for_update:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1)
        return trial

    def claim():
        with opened(tmp_path) as study:
            ready.wait(60)
            claimed.append(study._pop_waiting_trial_id())

    claimed, ready = [], threading.Barrier(2)
    with opened(tmp_path) as study:
        study.enqueue_trial({})
    monkeypatch.setattr(TrialModel, "find_or_raise_by_id", classmethod(find_beside_another))
    workers = [threading.Thread(target=claim) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claimed, key=str) == [1, None]


@pytest.mark.filterwarnings("ignore:The reported value is ignored")  # `trained` reports again
def test_a_worker_that_was_taken_for_dead_goes_on(trained, prepared_dir, tmp_path, monkeypatch):
    """As on a machine that slept; its trial waits again, or another worker has ended it."""
    once = trials.train

    def slept(config, workdir, **how):
        found = once(config, workdir, **how)
        if len(trained) < 3:
            url = studies.url_of_file(tmp_path / "sweep.db")
            (name,) = optuna.get_all_study_names(url)
            with studies.opened(url, name, optuna.pruners.NopPruner(), True) as stored:
                stored._storage._backend.resume_dead(stored._study_id, -1)
                if len(trained) == 2:
                    stored._pop_waiting_trial_id()
                    stored.tell(int(workdir.name[-1]), 0.9)
        return found

    monkeypatch.setattr(trials, "train", slept)
    budget = run(tmp_path, prepared_dir, PAIR)["budget"]
    assert (budget["complete"], budget.get("failed")) == (2, None)
    assert [name for _, name, _ in trained] == ["trial_0", "trial_0", "trial_1"]


def test_the_last_point_that_another_worker_has_claimed_is_not_replaced_by_a_draw(tmp_path):
    with opened(tmp_path) as stored:
        study = Study("s", stored, small(""), None, studies.Budget(), tmp_path)
        study.run_trial()
        assert study.trials() == []


def test_a_trial_waits_for_the_worker_that_is_still_in_its_folder(monkeypatch, tmp_path):
    tries = []

    def train(config, folder, *, test, after_validation):
        tries.append(folder)
        if len(tries) < 3:
            raise Busy("another process works there")
        return {"validation": {"click@all": {"auc": 0.7}}, "selected_by": "mean"}

    monkeypatch.setattr(trials, "train", train)
    monkeypatch.setattr(trials, "WAIT", 0)
    assert trials.run(small(""), tmp_path) == 0.7
    assert tries == [tmp_path] * 3


WORKER = """
import pathlib, sys, time
from dtn_jax.cli import sweep
from dtn_jax.search import studies, trials
from dtn_jax.search import sweep as searches
from dtn_jax.files import locked
from dtn_jax.run.workdir import Busy
studies.HEARTBEAT, studies.DEAD, trials.WAIT = 1, 4, 0.2
log, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])

def write(*words):
    with log.open("a") as out:
        out.write(" ".join(map(str, words)) + "\\n")

def train(config, workdir, *, test, after_validation):
    workdir.mkdir(parents=True, exist_ok=True)
    if not (lock := locked(workdir / "lock")):  # as a run has it
        raise Busy(f"another worker is in {workdir}")
    write("begin", config.model.dropout, workdir.name)
    time.sleep(seconds)
    write("end", config.model.dropout, workdir.name)
    validation = {"income@all": {"auc": config.model.dropout}}
    return {"validation": validation, "selected_by": "mean"}

trials.train = train
sweep.main(sys.argv[3:])
"""
POINTS = ("0.0", "0.1", "0.2", "0.3", "0.4", "0.5")


def start(log, seconds, workdir, prepared_dir, storage):
    """A worker, whose trials take so many seconds."""
    arguments = [CONFIG, f"--workdir={workdir}", f"--config.data.data_dir={prepared_dir}"]
    arguments += [f"--grid=model.dropout={','.join(POINTS)}", f"--storage={storage}"]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, log, str(seconds), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )


def lines(log, least=0):
    """What workers have written, at least so many lines of it."""
    end = time.monotonic() + 240
    while not log.exists() or len(written := log.read_text().splitlines()) < least:
        assert time.monotonic() < end
        time.sleep(0.1)
    return [tuple(line.split()) for line in written]


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_run_each_trial_once(prepared_dir, tmp_path):
    """The killed one's trial is run again, in its folder; all others once, by either."""
    log, storage = tmp_path / "log", f"sqlite:///{tmp_path / 'shared'}"
    victim = start(tmp_path / "victim", 600, tmp_path, prepared_dir, storage)
    other = start(log, 0.5, tmp_path, prepared_dir, storage)
    (lost,) = lines(tmp_path / "victim", least=1)
    lines(log, least=1)
    victim.kill()
    victim.wait()
    assert other.wait(240) == 0
    begun, ended = ([w[1:] for w in lines(log) if w[0] == what] for what in ("begin", "end"))
    assert sorted(point for point, _ in ended) == [*POINTS]
    assert begun == ended
    assert lost[1:] in begun
    found = json.loads((tmp_path / "sweep.json").read_text())["budget"]
    assert found["complete"] == 6
