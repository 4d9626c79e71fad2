"""Workers that die or are interrupted: what the others notice, and who goes on."""

import errno
import json
import time
from unittest.mock import Mock

import optuna
import pytest
from small_runs import small
from studies_in_memory import in_memory

from dtn_jax import workdir
from dtn_jax.shared_files import locked
from experiments.search import studies, trial_storage
from experiments.search.budget import Budget
from experiments.search.opening import open_study
from experiments.search.trials import SETTINGS, TWIN


def test_with_a_journal_a_worker_lives_while_its_folder_is_held(monkeypatch, tmp_path):
    study = in_memory(2)
    study.claim(study.optuna.ask(), {"seed": "1"}, tmp_path)
    folder = tmp_path / "trial_0"
    folder.mkdir()
    with locked(folder / "lock"):
        assert study.others_run(tmp_path)
        monkeypatch.setattr(studies, "BEGINNING", 0)
        study.bury(tmp_path)
        assert [t.state.name for t in study.trials()] == ["RUNNING"]
    monkeypatch.setattr(studies, "BEGINNING", 20)
    study.bury(tmp_path)
    assert [t.state.name for t in study.trials()] == ["RUNNING"]  # it may not have begun
    monkeypatch.setattr(studies, "BEGINNING", 0)
    assert study.wants_more(tmp_path)
    assert [t.state.name for t in study.trials()] == ["FAIL", "WAITING"]


def test_with_a_journal_nothing_is_said_of_trials_in_another_workdir(monkeypatch, tmp_path):
    """Not even where this one has a folder of that name, left by a worker that died here."""
    study = in_memory(2)
    study.claim(study.optuna.ask(), {"seed": "1"}, tmp_path / "there")
    here = tmp_path / "here"
    (here / "trial_0").mkdir(parents=True)
    (here / "trial_0" / "lock").touch()
    monkeypatch.setattr(studies, "BEGINNING", 0)
    study.bury(here)
    assert not study.others_run(here)
    assert [t.state.name for t in study.trials()] == ["RUNNING"]


@pytest.mark.parametrize(("machine", "dead"), [("", True), ("another", False)])
def test_with_a_database_a_worker_of_this_machine_is_dead_once_its_folder_is_free(
    machine, dead, monkeypatch, tmp_path
):
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    study = open_study(url, "dtn", small(""), "mean", Budget(2, "tpe", "none", 0, {}))
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.claim(study.optuna.ask(), {"seed": "1"}, tmp_path)
    if machine:
        monkeypatch.setattr(studies.platform, "node", lambda: machine)
    (tmp_path / "trial_0").mkdir()
    monkeypatch.setattr(studies, "BEGINNING", 0)
    with locked(tmp_path / "trial_0" / "lock"):
        study.bury(tmp_path)
        assert [t.state.name for t in study.trials()] == ["RUNNING"]
    study.bury(tmp_path)
    assert study.trials()[0].state.name == ("FAIL" if dead else "RUNNING")
    study.close()


def test_with_a_journal_nobody_is_dead_where_files_have_no_locks(monkeypatch, tmp_path):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(workdir.fcntl, "flock", flock)
    monkeypatch.setattr(studies, "BEGINNING", 0)
    study = in_memory(2)
    study.claim(study.optuna.ask(), {"seed": "1"}, tmp_path)
    (tmp_path / "trial_0").mkdir()
    with locked(tmp_path / "trial_0" / "lock"):
        study.bury(tmp_path)
    assert [t.state.name for t in study.trials()] == ["RUNNING"]
    assert not study.others_run(tmp_path)  # whose death nobody would notice


def test_interruptions_are_gone_on_with_and_many_silent_deaths_are_not(tmp_path, capsys):
    study = in_memory(9)
    limit = trial_storage.RETRIES
    for _ in range(limit + 2):

        def interrupted(trial):
            study.claim(trial, {"seed": "1"})
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            study.run_one(interrupted)
        assert study.trials()[-1].state.name == "WAITING"
    assert "given up" not in capsys.readouterr().out
    numbers = []
    study.run_one(lambda trial: numbers.append(study.claim(trial, {"seed": "1"})) or 0.5)
    assert numbers == [0]
    study = in_memory(9)
    for deaths in range(limit + 1):
        study.claim(study.optuna.ask(), {"seed": "1"})
        study.give_up(study.running()[0])
        waiting = study.trials()[-1].state.name == "WAITING"
        assert waiting == (deaths < limit)
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        f"trial 0 is given up: its workers died without a word, or were interrupted, {limit + 1}"
        in shown
    )


def test_a_trial_that_ended_before_it_could_wait_is_resumed(tmp_path, monkeypatch):
    study = in_memory(2)

    def full(trial):
        study.claim(trial, {"seed": "1"})
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(studies, "go_on_later", lambda *_, **__: None)
        study.run_one(full)
    assert [t.state.name for t in study.trials()] == ["FAIL"]
    assert study.wants_more(tmp_path, new=False)
    assert study.wants_more(tmp_path, new=False)
    assert [t.state.name for t in study.trials()] == ["FAIL", "WAITING"]
    study.run_one(lambda trial: 0.5 + study.claim(trial, {"seed": "1"}))
    assert [t.value for t in study.trials() if t.state in studies.DONE] == [0.5]
    assert not study.wants_more(tmp_path, new=False)


def test_an_interruption_while_a_trial_is_put_down_stays_one(monkeypatch):
    study = in_memory(9)

    told = Mock(side_effect=KeyboardInterrupt)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("optuna.study._optimize._tell_with_warning", told)
        study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    study.alone()
    for _ in range(2):  # the first may find that the other one does the same
        study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    assert [t.value for t in study.trials() if t.state in studies.DONE] == [0.5]


def test_a_pruner_keeps_what_an_interrupted_trial_had_reported():
    study = in_memory(9)

    def interrupted(trial):
        study.claim(trial, {"seed": "1"})
        trial.report(0.7, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run_one(interrupted)
    study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    assert study.trials()[-1].intermediate_values == {1: 0.7}


def test_a_sign_of_life_that_fails_is_not_the_last(tmp_path, monkeypatch):
    tried = []

    def record(self, trial_id):
        tried.append(trial_id)
        if len(tried) == 1:
            raise optuna.exceptions.StorageInternalError("the server restarts")

    monkeypatch.setattr(optuna.storages.RDBStorage, "record_heartbeat", record)
    monkeypatch.setattr(trial_storage, "HEARTBEAT", 1)
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    study = open_study(url, "dtn", small(""), "mean", Budget(2, "tpe", "none", 0, {}))
    end = time.monotonic() + 120

    def objective(trial):
        while len(tried) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        return 0.5

    study.run_one(objective)
    study.close()
    assert len(tried) >= 2


def test_what_another_one_does_is_not_done_for_a_dead_worker_either():
    """A worker that died before it could end its trial as a twin, or as one too many."""
    for budget in (9, 1):
        study = in_memory(budget)
        settings = {"seed": "1" if budget == 9 else "2"}
        study.run_one(lambda trial, s=study: s.claim(trial, {"seed": "1"}) + 0.5)
        dead = study.optuna.ask()
        dead.set_user_attr(SETTINGS, json.dumps(settings))
        study.alone()
        assert not study.run_one(lambda trial, s=study, given=settings: s.claim(trial, given) + 0.5)
        assert len([t for t in study.trials() if t.state in studies.DONE]) == 1
    study = in_memory(9)
    dead = study.optuna.ask()
    dead.set_user_attr(SETTINGS, json.dumps({"seed": "2"}))
    dead.set_user_attr(TWIN, None)  # it had said so, and no more
    study.optuna.tell(dead.number, state=optuna.trial.TrialState.FAIL)
    studies.go_on_later(study.optuna, study.optuna.get_trials()[dead.number])
    assert not study.run_one(lambda trial: study.claim(trial, {"seed": "3"}) + 0.5)


def test_the_only_worker_goes_on_with_what_died_at_once(tmp_path):
    budget = Budget(2, "tpe", "none", 0, {})
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    study = open_study(url, "dtn", small(""), "mean", budget)
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.claim(study.optuna.ask(), {"seed": "1"})  # and its worker dies
    study.alone()
    assert [t.state.name for t in study.trials()] == ["FAIL", "WAITING"]
    numbers = []
    study.run_one(lambda trial: numbers.append(study.claim(trial, {"seed": "1"})) or 0.5)
    assert numbers == [0]
    study.close()


def test_a_worker_that_was_taken_for_dead_leaves_its_trial_to_the_other(capsys):
    study = in_memory(2)

    def silent(trial):
        study.claim(trial, {"seed": "1"})
        study.optuna.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # said by another one
        return 0.5

    assert not study.run_one(silent)
    assert "another one took it over" in " ".join(capsys.readouterr().out.split())
    assert [t.state.name for t in study.trials()] == ["FAIL"]


def test_a_worker_that_died_before_it_had_a_folder_is_noticed(monkeypatch, tmp_path):
    study = in_memory(2)
    study.claim(study.optuna.ask(), {"seed": "1"}, tmp_path)
    study.claim(study.optuna.ask(), {"seed": "2"}, tmp_path / "of another worker")
    study.bury(tmp_path)
    assert [t.state.name for t in study.trials()] == ["RUNNING"] * 2  # they may have just begun
    monkeypatch.setattr(studies, "BEGINNING", 0)
    study.bury(tmp_path)
    assert [t.state.name for t in study.trials()] == ["FAIL", "RUNNING", "WAITING"]


def test_a_worker_that_died_before_it_said_what_it_does_is_not_waited_for(monkeypatch, tmp_path):
    study = in_memory(9)
    study.optuna.ask()
    monkeypatch.setattr(studies.trial_storage, "DEAD", 0)
    assert study.claim(study.optuna.ask(), {"seed": "2"}) == 1
    study.bury(tmp_path)
    assert study.trials()[0].state.name == "FAIL"
