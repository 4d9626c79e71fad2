"""Trials that ended before their time and that none goes on with."""

import dataclasses
import pathlib

import jax
import pytest
from studies_in_memory import in_memory

from dtn_jax.shared_files import disk_errors
from experiments.search import studies, trials


def interrupted(study, settings, monkeypatch):
    """A trial whose worker died before it could say that it waits."""

    def objective(trial):
        study.claim(trial, settings)
        raise OSError("full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(studies, "go_on_later", lambda *_, **__: None)
        study.run_one(objective)


def test_one_is_resumed_once(tmp_path, monkeypatch):
    study = in_memory(3)
    interrupted(study, {"seed": "1"}, monkeypatch)
    for _ in range(3):
        study.bury(tmp_path)
    assert [t.state.name for t in study.trials()] == ["FAIL", "WAITING"]


def test_one_beyond_the_budget_is_left(tmp_path, monkeypatch):
    study = in_memory(1)
    study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    larger = dataclasses.replace(study, budget=dataclasses.replace(study.budget, trials=2))
    interrupted(larger, {"seed": "2"}, monkeypatch)
    study.bury(tmp_path)
    assert [t.state.name for t in study.trials()] == ["COMPLETE", "FAIL"]


def test_one_whose_settings_another_worker_has_is_left(tmp_path, monkeypatch):
    study = in_memory(5)
    interrupted(study, {"seed": "1"}, monkeypatch)
    study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    study.bury(tmp_path)
    assert "WAITING" not in [t.state.name for t in study.trials()]


def test_a_trial_without_settings_is_no_point_of_the_space(monkeypatch):
    monkeypatch.setattr(studies.trial_storage, "DEAD", 0)  # it is not waited for
    study = in_memory(5)
    study.optuna.ask()  # its worker dies before it says what it does
    asked = study.optuna.ask()
    asked.suggest_categorical("seed", [1, 2])
    study.claim(asked, {"seed": "1"})
    assert not trials.all_tried(study.trials())


def test_what_a_device_lacks_is_no_fault_of_a_disk(tmp_path):
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Failed to allocate 2 GiB on device 0")
    with pytest.raises(jax.errors.JaxRuntimeError), disk_errors(pathlib.Path(tmp_path)):
        raise error
    with pytest.raises(OSError, match="No space left"), disk_errors(pathlib.Path(tmp_path)):
        raise ValueError("RESOURCE_EXHAUSTED: No space")


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("claimed", [False, True])
def test_a_search_that_is_killed_draws_what_an_uncut_one_does(sampler, claimed, tmp_path):
    """Whether the worker dies before or after it says what a trial does."""

    def settings(deaths):
        study = in_memory(4)
        study = dataclasses.replace(
            study, budget=dataclasses.replace(study.budget, sampler=sampler)
        )
        found = {}

        def objective(trial):
            value = trial.suggest_float("value", 0, 1)
            number = study.claim(trial, {"value": repr(value)}, tmp_path)
            found[number] = value
            return value

        while len(found) < 4:
            study.draw_anew(False)
            if len(found) in deaths:
                deaths.remove(len(found))
                dead = study.optuna.ask()
                value = dead.suggest_float("value", 0, 1)
                if claimed:
                    study.claim(dead, {"value": repr(value)}, tmp_path)
                study.alone()
            study.draw_anew(False)
            study.run_one(objective)
        return list(found.values())

    assert settings({0, 2, 3}) == settings(set())
