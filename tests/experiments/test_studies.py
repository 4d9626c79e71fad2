"""Studies that workers share: twins, trials beyond the budget, samplers and pruners."""

import contextlib
import dataclasses
import sqlite3
import threading

import optuna
import pytest
from claimed_folders import RESULTS
from small_runs import small
from studies_in_memory import in_memory

from dtn_jax.errors import UserError
from dtn_jax.workdir import found
from experiments.search import storage_urls, studies
from experiments.search.budget import Budget, make_pruner, make_sampler
from experiments.search.opening import open_study
from experiments.search.trials import SETTINGS
from experiments.search.worker import check_values

RANDOM = Budget(99, "random", "asha", 0, {})


def test_no_sampler_learns_from_a_twin():
    study = in_memory(9)
    study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    assert not study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    states = [t.state.name for t in study.optuna.get_trials()]
    assert states == ["COMPLETE", "FAIL"]


def test_the_password_of_a_storage_is_not_shown():
    url = "postgresql://me:secret@nowhere.invalid/trials"
    with pytest.raises(UserError) as caught:
        open_study(url, "dtn", small(""), "mean", Budget(2, "tpe", "none", 0, {}))
    assert "secret" not in str(caught.value)
    assert "me:***@nowhere.invalid" in str(caught.value)
    assert storage_urls.shown("journal:/a/b") == "journal:/a/b"


def test_a_path_with_the_signs_of_a_url_is_one(tmp_path):
    folder = tmp_path / "s?x=1#[a]%41"
    folder.mkdir()
    url = storage_urls.of_file(folder / "sweep.db")
    open_study(url, "dtn", small(""), "mean", Budget(2, "tpe", "none", 0, {})).close()
    assert [p.name for p in folder.iterdir()] == ["sweep.db"]


def damaged_pages(path):
    """The tables' pages zeroed; SQLite opens such a file."""
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)


def damaged_json(path):
    data = path.read_bytes()
    assert b'"config"' in data
    path.write_bytes(data.replace(b'{"config"', b'}"config"'))


@pytest.mark.parametrize("damage", [damaged_pages, damaged_json])
def test_a_damaged_database_is_told(tmp_path, damage):
    url = storage_urls.of_file(tmp_path / "sweep.db")
    given = (url, "dtn", small(""), "mean", Budget(2, "tpe", "none", 0, {}))
    open_study(*given).close()
    damage(tmp_path / "sweep.db")
    with pytest.raises(UserError, match=r"storage '.*sweep\.db' (is damaged|cannot be opened)"):
        open_study(*given)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("update trial_values set value = NULL", "AssertionError"),  # Optuna's, of not a number
        ("update trial_values set value = 'abc'", "trial 0 has the value 'abc'"),
        ("delete from trial_values", "trial 0 has the value None"),
        ("update trial_intermediate_values set intermediate_value = 'x'", "has the value 'x'"),
        ("update trial_user_attributes set value_json = '7'", "the settings of trial 0 are no"),
        ("update trials set state = 'LOST'", "'LOST' is not among"),
    ],
)
def test_a_trial_that_no_worker_wrote_is_told(tmp_path, edit, told):
    url = storage_urls.of_file(tmp_path / "sweep.db")
    given = (url, "dtn", small(""), "mean", Budget(2, "tpe", "none", 0, {}))
    study = open_study(*given)
    attributes = {"user_attrs": {SETTINGS: "{}"}, "intermediate_values": {1: 0.4}}
    study.optuna.add_trial(optuna.trial.create_trial(value=0.5, **attributes))
    study.close()
    open_study(*given).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "sweep.db")) as base, base:
        assert base.execute(edit).rowcount == 1
    with pytest.raises(UserError, match=rf"sweep\.db' is damaged \(.*{told}.*; move it away"):
        open_study(*given)


def test_an_edited_value_of_the_storage_is_told(tmp_path):
    study = in_memory(2)
    for value in (0.5, 0.9):
        study.optuna.add_trial(optuna.trial.create_trial(value=value))
    for number in (0, 1):
        (tmp_path / f"trial_{number}").mkdir()
    found.write(tmp_path / "trial_0", RESULTS)
    check_values(study, tmp_path)
    found.write(tmp_path / "trial_1", RESULTS)
    with pytest.raises(UserError, match=r"trial 1 found 0\.9, but .*results\.json has 0\.5"):
        check_values(study, tmp_path)


def test_the_last_point_of_a_grid_is_gone_on_with_too():
    grid = {"seed": ["1", "2"]}
    sampler = optuna.samplers.GridSampler(grid)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    known = studies.Study("dtn", study, "mean", Budget(2, "grid", "none", 0, grid), study._storage)
    trials = [study.ask(), study.ask()]
    for trial in trials:
        trial.suggest_categorical("seed", grid["seed"])
    study.tell(trials[0], 0.1)
    known.alone()
    assert [t.state.name for t in known.trials()] == ["COMPLETE", "FAIL", "WAITING"]


def test_of_two_workers_that_draw_the_same_the_older_goes_on():
    study = in_memory(9)
    older, younger = study.optuna.ask(), study.optuna.ask()
    late = threading.Timer(0.3, study.claim, (older, {"seed": "1"}))  # it has not said so yet
    late.start()
    with pytest.raises(studies.Twin):
        study.claim(younger, {"seed": "1"})
    late.join()
    assert [t.number for t in study.trials()] == [older.number]
    assert study.claim(study.optuna.ask(), {"seed": "2"}) == 2


def test_a_trial_beyond_the_budget_is_not_done():
    study = in_memory(2)
    for number in range(2):  # both are running
        assert study.claim(study.optuna.ask(), {"seed": str(number)}) == number
    with pytest.raises(studies.Twin):
        study.claim(study.optuna.ask(), {"seed": "2"})
    assert len(study.trials()) == 2


def test_the_best_is_of_the_trials_within_the_budget():
    """An earlier call on the same study may have had a larger one."""
    study = in_memory(9)
    for seed in "123":  # each better than the one before
        study.run_one(lambda trial, seed=seed: study.claim(trial, {"seed": seed}) + 0.5)
    assert study.best().number == 2
    assert dataclasses.replace(study, budget=in_memory(2).budget).best().number == 1


def test_workers_that_start_together_do_different_trials(monkeypatch, tmp_path):
    """Each has the same seed, and draws the same at first."""
    monkeypatch.setattr(studies.trial_storage, "DEAD", 0)  # here one claims after the other
    storage, budget = f"journal:{tmp_path / 'journal'}", Budget(99, "tpe", "none", 0, {})
    workers = [open_study(storage, "dtn", small(""), "mean", budget) for _ in range(35)]
    settings = lambda trial: {"rate": str(trial.suggest_float("rate", 0, 1))}  # noqa: E731
    asked = [(worker, worker.optuna.ask()) for worker in workers]
    drawn = [settings(trial) for _, trial in asked]
    assert len({d["rate"] for d in drawn}) == 1
    draws = []
    for (worker, trial), own in zip(asked, drawn):
        for twins in range(99):
            try:
                worker.claim(trial, own)
                break
            except studies.Twin:
                worker.optuna.tell(trial, state=optuna.trial.TrialState.FAIL)
                worker.draw_anew(twins >= 2)
                trial = worker.optuna.ask()
                own = settings(trial)
        draws.append(twins)
    assert max(draws) <= 4
    assert len({t.user_attrs[SETTINGS] for t in workers[0].trials()}) == 35


def test_asha_judges_at_several_validations():
    study = optuna.create_study(
        direction="maximize", pruner=make_pruner(RANDOM), sampler=make_sampler(RANDOM, 0)
    )
    known = studies.Study("dtn", study, "mean", RANDOM, study._storage)

    def objective(trial):
        value = trial.suggest_float("value", 0, 1)
        after_validation = known.after_validation(trial)
        for number in (1, 2, 3, 4):
            after_validation(number, {"mean": value + number / 100})
        return value

    study.optimize(objective, n_trials=60)
    ends = [max(t.intermediate_values) for t in study.trials if t.state.name == "PRUNED"]
    assert 30 < ends.count(1) < 55  # about two thirds, and more at first
    assert 2 < ends.count(3) < 20
    assert set(ends) == {1, 3}
    assert study.best_value > 0.95


def test_a_study_ends_its_connections(tmp_path):
    budget = Budget(1, "tpe", "none", 0, {})
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    study = open_study(url, "dtn", small(""), "mean", budget)
    pool = study.storage.engine.pool
    study.close()
    assert study.storage.engine.pool is not pool
    assert pool.checkedin() == 0
