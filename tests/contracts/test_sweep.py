"""Sweeps by command: every trial once, within the budget; what is reported and shown."""

import json
import shlex

import optuna
import pytest
from sweeps import CONFIG, GRID, TINY, run

from dtn_jax.config import load_config
from dtn_jax.errors import UserError
from dtn_jax.run.selection import selected_value
from dtn_jax.search import studies, trials
from dtn_jax.search.studies import Budget, search

pytestmark = pytest.mark.usefixtures("quick_storages")


def test_a_grid_is_gone_through_once(trained, prepared_dir, tmp_path, capsys):
    found = run(tmp_path, prepared_dir, GRID)
    assert len(trained) == 6
    points = {(c.optim.learning_rate, c.model.dropout) for _, _, c in trained}
    assert len(points) == 6
    assert found["settings"] == {"optim.learning_rate": "3e-3", "model.dropout": "0.1"}
    spent = {"trials": 0, "sampler": "grid", "pruner": "none", "complete": 6}
    assert found["budget"] == spent
    shown = capsys.readouterr().out
    (command,) = [line for line in shown.splitlines() if line.startswith("dtn-jax train")]
    words = shlex.split(command)
    assert words[:2] == ["dtn-jax", "train"]
    assert {CONFIG, "--config.model.dropout=0.1", "--config.optim.learning_rate=3e-3"} <= set(words)
    run(tmp_path, prepared_dir, GRID)
    assert len(trained) == 6  # nothing is done again


def test_a_task_or_some_may_be_the_objective(trained, prepared_dir, tmp_path):
    found = run(tmp_path, prepared_dir, GRID, "--config.train.select=income")
    assert {c.train.select for _, _, c in trained} == {"income"}
    assert "--config.train.select=income" in shlex.split(found["command"])
    with pytest.raises(UserError, match=r"unknown train\.select 'age'"):
        run(tmp_path / "other", prepared_dir, GRID, "--config.train.select=age")
    validation = {"a@click": {"auc": 0.5}, "a@all": {"auc": 0.9}, "b@all": {"r2": 0.7}}

    def value(select):
        return selected_value({"validation": validation, "selected_by": select})

    assert value("mean") == pytest.approx(0.6)
    assert value("a") == 0.5
    validation["c@all"] = {"auc": None}
    assert value("mean") == pytest.approx(0.6)
    assert value("c") is None


def test_an_objective_may_be_lowered(monkeypatch, prepared_dir, tmp_path, capsys):
    """By its direction Optuna searches, prunes and ranks; values are the metric's own."""
    pruned = []

    def train(config, workdir, *, test, after_validation):
        loss = 0.3 + abs(config.model.dropout - 0.1)
        for step in (1, 2, 3):
            try:
                after_validation(step, {config.train.select: loss})
            except optuna.TrialPruned:
                pruned.append(config.model.dropout)
                raise
        metrics = {"auc": 1 - loss, "logloss": loss}
        validation = {"income@all": metrics, "never_married@all": metrics}
        return {"validation": validation, "selected_by": config.train.select}

    monkeypatch.setattr(trials, "train", train)
    grid = "--grid=model.dropout=0.1,0.0,0.2,0.3,0.4,0.5,0.6"
    lowest = (grid, "--config.train.select=mean:logloss", "--pruner=median")
    found = run(tmp_path, prepared_dir, *lowest)
    assert found["settings"] == {"model.dropout": "0.1"}
    assert found["value"] == pytest.approx(0.3)
    assert pruned
    assert min(pruned) > 0.1
    assert "validation log loss (mean:logloss)" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"unknown metric of income .* mean 'logloss'"):
        run(tmp_path / "other", prepared_dir, grid, "--config.train.select=income:log_loss")
    assert not (tmp_path / "other").exists()


def test_what_an_earlier_trial_sets_is_not_trained_again(trained, prepared_dir, tmp_path):
    """Where a small space is drawn from again and again, which ends with the budget."""
    file = tmp_path / "mine.py"
    file.write_text(
        "def sweep(trial):\n"
        "    d = trial.suggest_categorical('d', [0.0, 0.1, 0.2])\n"
        "    return {'model.dropout': d, 'seed': trial.suggest_int('seed', 0, 1)}\n"
    )
    found = run(tmp_path / "out", prepared_dir, f"--sweep={file}", "--trials=8")
    done = [(config.model.dropout, config.seed) for _, _, config in trained]
    assert len(done) == len(set(done)) == found["budget"]["complete"] <= 6
    assert found["budget"]["complete"] + found["budget"]["pruned"] == 8
    assert found["settings"]["model.dropout"] == "0.1"


def test_real_trials_leave_test_shut_and_folders_of_others_alone(prepared_dir, tmp_path, capsys):
    """One that cannot fit costs one trial."""
    grid = "--grid=model.embedding_dim=2,1000000000"
    found = run(tmp_path, prepared_dir, *TINY[:4], TINY[5], grid)
    assert 0.3 < found["value"] < 1
    assert found["budget"]["complete"] == found["budget"]["failed"] == 1
    assert "failed: this run cannot fit" in " ".join(capsys.readouterr().out.split())
    (path,) = tmp_path.rglob("results.json")
    assert "test" not in json.loads(path.read_text())
    assert not list(tmp_path.rglob("predictions.parquet"))

    url = f"sqlite:///{tmp_path / 'other.db'}"
    with pytest.raises(UserError, match=r"workdir .*trial_\d belongs to another config"):
        run(tmp_path, prepared_dir, "--grid=seed=2,3,4", f"--storage={url}", *TINY)
    assert json.loads((tmp_path / "sweep.json").read_text()) == found
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    assert not any("error" in t.user_attrs for t in trials)


def test_a_search_tries_settings_of_others_and_its_finalists_with_seeds_it_has_not_seen(
    trained, tmp_path
):
    """As paper tables call it; a second call adds what is new, and repeats nothing."""
    config, url = load_config("configs/adult.py:dtn"), studies.url_of_file(tmp_path / "j")
    given = [{"model.dropout": 0.4}, {"model.dropout": 0.1}]

    def suggest(trial):
        return {"model.dropout": trial.suggest_float("model.dropout", 0.0, 0.7)}

    def searched(enqueue):
        how = {"storage": url, "finalists": 2, "finalist_seeds": 2}
        budget = Budget(trials=3, sampler="random")
        return search(config, suggest, tmp_path, budget, enqueue=enqueue, alone=True, **how)

    searched(given[:1])
    assert [config.model.dropout for _, _, config in trained[:3]].count(0.4) == 1
    names = [name for _, name, _ in trained]
    assert names[:3] == ["trial_0", "trial_1", "trial_2"]
    seeds = {(config.model.dropout, config.seed) for _, _, config in trained[3:]}
    assert {seed for _, seed in seeds} == {101, 102}
    assert len(seeds) == 4
    with studies.opened(url, "dtn", Budget().make_pruner(), True) as stored:
        stored.enqueue_trial({})
        stored._pop_waiting_trial_id()  # who is alone need not wait until this worker is dead
    second = searched(given)
    assert "trial_3" in [name for _, name, _ in trained]
    assert second.budget["complete"] == 5  # 0.4 was not even begun again
    assert second.settings == {"model.dropout": "0.1"}
    assert second.finalists[0].values == [second.value] * 2
    assert second.stretches == dict.fromkeys(range(5), 4)
    assert json.dumps(second.as_dict())


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"rate": 9.9e-3, "dropout": 0.25}, ["rate"]),
        ({"rate": 3.1e-4, "dropout": 0.01}, ["rate"]),  # no dropout is below 0
        ({"rate": 2e-3, "dropout": 0.49}, ["dropout"]),
        ({"rate": 2e-3, "dropout": 0.25}, []),
    ],
)
def test_winners_at_the_edge_of_a_range_are_told(params, expected):
    ranges = {
        "rate": optuna.distributions.FloatDistribution(3e-4, 1e-2, log=True),
        "dropout": optuna.distributions.FloatDistribution(0.0, 0.5),
    }
    trial = optuna.trial.create_trial(params=params, distributions=ranges, value=0.5)
    assert trials.at_edge(trial) == expected
