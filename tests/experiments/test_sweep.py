"""Sweeps by command: every trial once, whoever does it; deaths, errors; test stays shut."""

import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import numpy as np
import optuna
import polars as pl
import pytest
from small_runs import small

from dtn_jax.datasets import adult
from dtn_jax.datasets.preparation import catalog
from dtn_jax.input.pipeline import SplitReader
from dtn_jax.schema import UserError
from dtn_jax.workdir import Busy
from experiments import sweep

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = "--config=configs/adult.py:dtn"
GRID = "--grid=optim.learning_rate=1e-3,3e-3;model.dropout=0,0.1,0.2"


def run(workdir, prepared_dir, *arguments, folder="."):
    sweep.main(
        [CONFIG, f"--workdir={workdir}", f"--config.data.data_dir={prepared_dir}", *arguments]
    )
    return json.loads((workdir / folder / "sweep.json").read_text())["studies"]


@pytest.fixture
def trained(monkeypatch):
    """What was trained, by a training that knows which setting is best: dropout 0.1 and 3e-3."""
    done = []

    def train(config, workdir, *, test, after_validation):
        assert not test
        done.append((config.model.architecture, pathlib.Path(workdir).name, config))
        value = 0.9 - abs(config.model.dropout - 0.1) - abs(config.optim.learning_rate - 3e-3)
        for step in (1, 2, 3):
            after_validation(step, {config.train.select: value})
        keys = ("income@all", "never_married@all")
        return {"validation": {key: {"auc": value} for key in keys}}

    monkeypatch.setattr(sweep, "train", train)
    return done


def test_a_grid_is_gone_through_once(trained, prepared_dir, tmp_path, capsys):
    found = run(tmp_path, prepared_dir, GRID)["dtn"]
    assert len(trained) == 6
    points = {(c.optim.learning_rate, c.model.dropout) for _, _, c in trained}
    assert len(points) == 6
    assert found["settings"] == {"optim.learning_rate": "3e-3", "model.dropout": "0.1"}
    spent = {"trials": 6, "sampler": "grid", "pruner": "none", "complete": 6}
    assert found["budget"] | {"seconds": 0} == spent | {"seconds": 0}
    shown = capsys.readouterr().out
    (command,) = [line for line in shown.splitlines() if line.startswith("python -m")]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "experiments.train"]
    assert {CONFIG, "--config.model.dropout=0.1", "--config.optim.learning_rate=3e-3"} <= set(words)
    for kind in ("history", "parallel", "importance"):
        assert (tmp_path / f"dtn_{kind}.png").stat().st_size > 5_000
    run(tmp_path, prepared_dir, GRID)
    assert len(trained) == 6  # nothing is done again


def test_architectures_have_equal_budgets(trained, prepared_dir, tmp_path):
    found = run(tmp_path, prepared_dir, "--architectures=mmoe,ple", "--trials=3")
    assert [name for name, _, _ in trained] == ["mmoe"] * 3 + ["ple"] * 3
    assert found["mmoe"]["budget"]["complete"] == found["ple"]["budget"]["complete"] == 3
    more = run(tmp_path, prepared_dir, "--architectures=mmoe,ple", "--trials=4")
    assert len(trained) == 8
    assert more["ple"]["budget"]["trials"] == 4


def test_the_space_may_be_a_file_of_ones_own(trained, prepared_dir, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def sweep(trial):\n    d = trial.suggest_categorical('d', [0.1, 0.3])\n"
        "    return {'model.dropout': d, 'seed': 4}\n"
    )
    found = run(tmp_path / "out", prepared_dir, f"--sweep={file}", "--trials=9")["dtn"]
    # Two settings exist; draws of one that was tried before cost nothing, and end.
    assert sorted(c.model.dropout for _, _, c in trained) == [0.1, 0.3]
    assert found["settings"] == {"model.dropout": "0.1", "seed": "4"}


def test_a_task_or_some_may_be_the_objective(trained, prepared_dir, tmp_path):
    found = run(tmp_path, prepared_dir, GRID, "--objective=income")["dtn"]
    assert {c.train.select for _, _, c in trained} == {"income"}
    assert "--config.train.select=income" in shlex.split(found["command"])
    with pytest.raises(UserError, match=r"unknown train\.select \(the objective\) 'age'"):
        run(tmp_path / "other", prepared_dir, GRID, "--objective=age")
    validation = {"a@click": {"auc": 0.5}, "a@all": {"auc": 0.9}, "b@all": {"r2": 0.7}}
    assert sweep.value_of(validation, "mean") == pytest.approx(0.6)
    assert sweep.value_of(validation, "a") == 0.5
    assert sweep.value_of(validation | {"c@all": {"auc": 0.1}}, "c+a") == pytest.approx(0.3)


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
        return {"validation": {"income@all": metrics, "never_married@all": metrics}}

    monkeypatch.setattr(sweep, "train", train)
    grid = "--grid=model.dropout=0.1,0.0,0.2,0.3,0.4,0.5,0.6"
    lowest = (grid, "--objective=mean:logloss", "--pruner=median")
    found = run(tmp_path, prepared_dir, *lowest)["dtn"]
    assert found["settings"] == {"model.dropout": "0.1"}
    assert found["value"] == pytest.approx(0.3)
    assert pruned
    assert min(pruned) > 0.1
    assert "validation log loss (mean:logloss)" in capsys.readouterr().out
    assert run(tmp_path, prepared_dir, *lowest)["dtn"]["value"] == found["value"]
    validation = {"a@all": {"auc": 0.5, "logloss": 0.3}, "b@all": {"r2": 0.7, "rmse": 2.0}}
    assert sweep.value_of(validation, "a:logloss+b:rmse") == pytest.approx(1.15)
    assert sweep.value_of(validation, "mean:logloss") == pytest.approx(0.3)
    with pytest.raises(UserError, match=r"unknown metric of income .* mean 'logloss'"):
        run(tmp_path / "other", prepared_dir, grid, "--objective=income:log_loss")
    assert not (tmp_path / "other").exists()


def test_the_objective_is_what_the_config_selects_by(trained, prepared_dir, tmp_path):
    found = run(tmp_path, prepared_dir, GRID, "--config.train.select=income+never_married")
    assert found["dtn"]["objective"] == "income+never_married"
    space = tmp_path / "space.py"
    space.write_text("def sweep(trial):\n    return {'train.select': 'income'}\n")
    with pytest.raises(UserError, match=r"cannot set train\.select"):
        run(tmp_path / "other", prepared_dir, f"--sweep={space}")


def test_bad_trials_are_pruned(trained, prepared_dir, tmp_path):
    found = run(tmp_path, prepared_dir, "--trials=12", "--sampler=random", "--pruner=median")
    budget = found["dtn"]["budget"]
    assert budget["pruned"] > 0
    assert budget["pruned"] + budget["complete"] == len(trained) == 12


def test_a_trial_that_fails_is_told_and_counted(monkeypatch, prepared_dir, tmp_path, capsys):
    def train(config, workdir, *, test, after_validation):
        if config.model.dropout == 0.1:
            raise UserError("the loss [/job:0] is not finite")
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(sweep, "train", train)
    found = run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1,0.2")["dtn"]
    assert found["budget"]["failed"] == 1
    assert found["budget"]["complete"] == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert "cannot be done: the loss [/job:0] is not finite" in shown

    def hopeless(*_, **__):
        raise UserError("the loss is not finite")

    monkeypatch.setattr(sweep, "train", hopeless)
    with pytest.raises(UserError, match="no trial succeeded; the last one: the loss"):
        run(tmp_path / "hopeless", prepared_dir, "--trials=9")


WORKER = """
import pathlib, sys, time
from dtn_jax.workdir import locked
from experiments import studies, sweep, trial_storage
trial_storage.HEARTBEAT, trial_storage.DEAD, sweep.WAIT, studies.BEGINNING = 1, 3, 0.2, 2
log, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])

def train(config, workdir, *, test, after_validation):
    workdir.mkdir(parents=True, exist_ok=True)
    lock = locked(workdir / "lock")  # as a run has it
    with log.open("a") as out:
        out.write(f"begin {config.model.dropout} {pathlib.Path(workdir).name}\\n")
    time.sleep(seconds)
    with log.open("a") as out:
        out.write(f"end {config.model.dropout}\\n")
    return {"validation": {"income@all": {"auc": config.model.dropout}}}

sweep.train = train
sweep.main(sys.argv[3:])
"""


def worker(log, seconds, workdir, prepared_dir, storage, *space):
    arguments = [
        *(CONFIG, f"--workdir={workdir}", f"--config.data.data_dir={prepared_dir}"),
        *(space or ("--grid=model.dropout=0,0.1,0.2,0.3",)),
        f"--storage={storage}",
    ]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, log, str(seconds), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )


def kill_in_its_first_trial(victim, log):
    end = time.monotonic() + 60
    while not log.exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    victim.kill()
    victim.wait()


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_two_workers_share_the_trials(kind, prepared_dir, tmp_path):
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    started = [worker(log, 0.3, tmp_path / str(i), prepared_dir, storage) for i in range(2)]
    assert [process.wait(120) for process in started] == [0, 0]
    lines = log.read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("end")) == [
        f"end {dropout}" for dropout in (0.0, 0.1, 0.2, 0.3)
    ]
    assert len(lines) == 8


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_a_killed_workers_trial_goes_on(kind, prepared_dir, tmp_path):
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    victim = worker(log, 60, tmp_path, prepared_dir, storage)
    kill_in_its_first_trial(victim, log)
    assert worker(log, 0, tmp_path, prepared_dir, storage).wait(120) == 0
    lines = log.read_text().splitlines()
    assert lines.count(lines[0]) == 2  # the same settings in the same folder
    assert sorted(line for line in lines if line.startswith("end")) == [
        f"end {dropout}" for dropout in (0.0, 0.1, 0.2, 0.3)
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space left on device")])
def test_an_interrupted_trial_waits_to_be_gone_on_with(
    error, monkeypatch, trained, prepared_dir, tmp_path
):
    once = sweep.train

    def interrupted(*args, **kwargs):
        raise error

    monkeypatch.setattr(sweep, "train", interrupted)
    with pytest.raises(type(error)):
        run(tmp_path, prepared_dir, GRID)
    monkeypatch.setattr(sweep, "train", once)
    run(tmp_path, prepared_dir, GRID)
    assert trained[0][1] == "trial_0"
    assert len(trained) == 6


def test_settings_that_run_out_of_memory_cost_one_trial(monkeypatch, prepared_dir, tmp_path):
    def train(config, workdir, *, test, after_validation):
        if config.model.dropout == 0.1 or config.model.architecture == "ple":
            raise MemoryError("RESOURCE_EXHAUSTED: 80 GiB")
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(sweep, "train", train)
    with pytest.raises(UserError, match="ple: no trial succeeded; the last one: MemoryError: RES"):
        run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1", "--architectures=ple,dtn")
    found = json.loads((tmp_path / "sweep.json").read_text())["studies"]
    assert found["dtn"]["budget"]["complete"] == found["dtn"]["budget"]["failed"] == 1
    (failed,) = [t for t in found["dtn"]["trials"] if t["state"] == "failed"]
    assert failed["error"] == "MemoryError: RESOURCE_EXHAUSTED: 80 GiB"
    assert "--config.model.dropout=0" in found["dtn"]["command"]


def test_what_was_found_before_an_interruption_is_written(monkeypatch, prepared_dir, tmp_path):
    done = []

    def train(config, workdir, *, test, after_validation):
        if done:
            raise KeyboardInterrupt
        done.append(config.model.dropout)
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(sweep, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1,0.2")
    found = json.loads((tmp_path / "sweep.json").read_text())["studies"]["dtn"]
    assert (found["value"], found["settings"]) == (0.8, {"model.dropout": f"{done[0]:g}"})


def test_every_point_of_a_small_space_is_found(trained, prepared_dir, tmp_path, capsys):
    """TPE alone would draw its best ones again and again."""
    file = tmp_path / "mine.py"
    file.write_text(
        "def sweep(trial):\n"
        "    d = trial.suggest_categorical('d', [0.0, 0.1, 0.2, 0.3, 0.4])\n"
        "    return {'model.dropout': d, 'seed': trial.suggest_int('seed', 0, 3)}\n"
    )
    found = run(tmp_path / "out", prepared_dir, f"--sweep={file}", "--trials=99")["dtn"]
    assert found["budget"]["complete"] == len(trained) == 20
    assert "the space has no further settings to try" in capsys.readouterr().out


def test_two_studies_have_a_folder_each(trained, prepared_dir, tmp_path):
    run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1")
    run(tmp_path, prepared_dir, "--grid=seed=1,2", "--study=second", folder="second")
    assert len(trained) == 4
    commands = [
        json.loads((folder / "sweep.json").read_text())["studies"]["dtn"]["command"]
        for folder in (tmp_path, tmp_path / "second")
    ]
    folders = [shlex.split(c)[-1] for c in commands]
    assert folders == [f"--workdir={tmp_path / at}" for at in ("dtn_best", "second/dtn_best")]


def test_a_folder_of_other_trials_is_no_trial(prepared_dir, tmp_path):
    """The first sweep's report stays."""
    tiny = [
        *("--config.model.experts=mlp", "--config.model.mlp.hidden=(4,)"),
        *("--config.model.architecture=shared_bottom", "--config.train.max_steps=2"),
        *("--config.model.embedding_dim=2", "--config.parallel.devices=1"),
    ]
    first = run(tmp_path, prepared_dir, "--grid=seed=1", *tiny)
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with pytest.raises(
        UserError, match=r"shared_bottom: workdir .*trial_0 belongs to another config"
    ):
        run(tmp_path, prepared_dir, "--grid=seed=2,3", f"--storage={url}", *tiny)
    assert json.loads((tmp_path / "sweep.json").read_text())["studies"] == first
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    assert [t.state.name for t in trials] == ["FAIL", "WAITING"]
    assert not any("error" in t.user_attrs for t in trials)


def test_a_fault_of_the_storage_is_not_one_of_the_settings(
    trained, prepared_dir, tmp_path, monkeypatch
):
    report = optuna.Trial.report

    def fails(trial, value, step):
        raise optuna.exceptions.StorageInternalError("the server restarts")

    monkeypatch.setattr(optuna.Trial, "report", fails)
    with pytest.raises(UserError, match="dtn: the storage does not answer: the server restarts"):
        run(tmp_path, prepared_dir, GRID)
    monkeypatch.setattr(optuna.Trial, "report", report)
    found = run(tmp_path, prepared_dir, GRID)["dtn"]
    assert found["budget"]["complete"] == 6
    assert "failed" not in found["budget"]
    assert [name for _, name, _ in trained].count("trial_0") == 2  # it was gone on with


def test_a_storage_that_stays_away_is_a_message(trained, prepared_dir, tmp_path, monkeypatch):
    def away(*_, **__):
        raise optuna.exceptions.StorageInternalError("connection refused")

    def dies(*_, **__):
        monkeypatch.setattr(optuna.storages.RDBStorage, "get_all_trials", away)
        monkeypatch.setattr(optuna.storages._CachedStorage, "get_all_trials", away)
        away()

    monkeypatch.setattr(sweep, "train", dies)
    with pytest.raises(UserError, match=r"dtn: the storage does not answer: conn.*; no report: "):
        run(tmp_path, prepared_dir, GRID)


def test_the_last_of_a_small_space_is_waited_for(prepared_dir, tmp_path):
    """Its worker died, which the database tells after a while."""
    log, storage = tmp_path / "log", f"sqlite:///{tmp_path / 'shared'}"
    file = tmp_path / "mine.py"
    file.write_text(
        "def sweep(trial):\n"
        "    d = trial.suggest_categorical('d', [0.0, 0.1, 0.2])\n"
        "    return {'model.dropout': d}\n"
    )
    space = (f"--sweep={file}", "--trials=9")
    victim = worker(log, 60, tmp_path, prepared_dir, storage, *space)
    kill_in_its_first_trial(victim, log)
    assert worker(log, 0, tmp_path, prepared_dir, storage, *space).wait(120) == 0
    ends = sorted(line for line in log.read_text().splitlines() if line.startswith("end"))
    assert ends == ["end 0.0", "end 0.1", "end 0.2"]
    budget = json.loads((tmp_path / "sweep.json").read_text())["studies"]["dtn"]["budget"]
    assert (budget["complete"], budget["retried"]) == (3, 1)
    assert "running" not in budget


def test_a_study_of_other_data_is_refused(trained, prepared_dir, tmp_path, monkeypatch):
    run(tmp_path, prepared_dir, GRID)
    read = sweep.read_data
    other = lambda config: dataclasses.replace(read(config), fingerprint="other")  # noqa: E731
    monkeypatch.setattr(sweep, "read_data", other)
    with pytest.raises(UserError, match="was begun with another data"):
        run(tmp_path, prepared_dir, GRID)


def test_that_trials_have_one_validation_is_said(trained, prepared_dir, tmp_path, capsys):
    run(tmp_path / "three", prepared_dir, "--trials=2", "--pruner=asha")
    told = "asha had nothing to judge by" in " ".join(capsys.readouterr().out.split())
    assert not told  # the fixture reports some
    sweep.train = lambda *args, **kwargs: {"validation": {"income@all": {"auc": 0.8}}}
    run(tmp_path / "one", prepared_dir, "--trials=2", "--pruner=asha")
    assert "asha had nothing to judge by" in " ".join(capsys.readouterr().out.split())


def test_real_trials_leave_test_shut(prepared_dir, tmp_path):
    tiny = [
        *("--config.model.experts=mlp", "--config.model.mlp.hidden=(4,)"),
        *("--config.model.architecture=shared_bottom", "--config.train.max_steps=2"),
        *("--config.model.embedding_dim=2", "--config.parallel.devices=1"),
    ]
    found = run(tmp_path, prepared_dir, "--grid=optim.learning_rate=1e-3,1e-2", *tiny)
    assert 0.3 < found["shared_bottom"]["value"] < 1
    results = json.loads((tmp_path / "shared_bottom" / "trial_0" / "results.json").read_text())
    assert "test" not in results
    assert not list(tmp_path.rglob("predictions.parquet"))


def test_test_labels_pick_nothing(prepared_dir, tmp_path, monkeypatch):
    """With the test split's labels shuffled, the same trials have the same values."""
    tiny = [
        *("--config.model.experts=mlp", "--config.model.mlp.hidden=(4,)"),
        *("--config.model.architecture=shared_bottom", "--config.train.max_steps=3"),
        *("--config.model.embedding_dim=2", "--config.parallel.devices=1"),
        "--grid=optim.learning_rate=1e-3,1e-2,1e-1",
    ]
    as_they_are = run(tmp_path / "a", prepared_dir, *tiny)["shared_bottom"]
    read = adult.read

    def shuffled():
        frame, tasks = read(), ("income", "never_married")
        order = np.random.default_rng(0).permutation(adult.TEST_ROWS)
        mixed = frame[: adult.TEST_ROWS].with_columns(
            **{task: frame[task][: adult.TEST_ROWS].gather(order) for task in tasks}
        )
        return pl.concat([mixed, frame[adult.TEST_ROWS :]])

    monkeypatch.setattr(adult, "read", shuffled)
    mixed_dir = str(tmp_path / "prepared")
    mixed, before = (catalog.load("adult", data_dir=d) for d in (mixed_dir, prepared_dir))
    labels = [SplitReader(data, "test").everything().labels for data in (mixed, before)]
    assert (labels[0] != labels[1]).mean() > 0.2
    found = run(tmp_path / "b", mixed_dir, *tiny)["shared_bottom"]
    assert found["settings"] == as_they_are["settings"]
    assert found["trials"] == as_they_are["trials"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampler=tp"], "unknown sampler 'tp'"),
        (["--pruner=hyper"], "unknown pruner 'hyper'"),
        (["--architectures=moe"], "unknown architecture 'moe'"),
        (["--trials=-1"], "--trials=-1"),
        (["--grid=optim.learning_rat=1"], "optim.learning_rate"),
        (["--grid=seed"], "expected OPTION=VALUE,VALUE, got 'seed'"),
        (["--grid=seed=x"], "seed"),
        (["--grid=;"], "expected OPTION=VALUE,VALUE, got ';'"),
        (["--grid=seed=1", "--sweep=x.py"], "give one"),
        (["--config.parallel.processes=auto"], "a trial is one process"),
        (["--config.replicas=2"], "a trial is one run"),
        (["--grid=parallel.processes=off,auto"], "cannot set parallel.processes"),
        (["--sampler=grid"], "--sampler=grid needs a --grid"),
        (["--sweep=nowhere.py"], r"no file 'nowhere\.py'"),
        (["--storage=nosql://x"], "storage 'nosql://x' cannot be opened"),
    ],
)
def test_bad_arguments_are_named(arguments, message, prepared_dir, tmp_path):
    with pytest.raises(UserError, match=message):
        run(tmp_path, prepared_dir, *arguments)


def test_random_draws_go_on_where_they_stopped(trained, prepared_dir, tmp_path):
    for trials in (35, 40):  # more than are drawn in vain before a space counts as exhausted
        run(tmp_path, prepared_dir, "--sampler=random", f"--trials={trials}")
        assert len({c.optim.learning_rate for _, _, c in trained}) == trials


def test_an_architecture_that_cannot_be_does_not_lose_the_others(trained, prepared_dir, tmp_path):
    def train(config, workdir, **kwargs):
        if config.model.architecture == "esmm":
            raise UserError("esmm needs a funnel")
        return once(config, workdir, **kwargs)

    once, sweep.train = sweep.train, train  # the fixture puts the true one back
    with pytest.raises(UserError, match=r"esmm: no trial succeeded.*funnel"):
        run(tmp_path, prepared_dir, "--architectures=dtn,esmm,ple", "--trials=3")
    found = json.loads((tmp_path / "sweep.json").read_text())["studies"]
    assert found["dtn"]["budget"]["complete"] == found["ple"]["budget"]["complete"] == 3
    assert found["esmm"]["command"] == ""


def test_a_metric_that_is_not_defined_is_no_value():
    validation = {"a@all": {"auc": None}, "b@all": {"auc": 0.7}}
    assert sweep.value_of(validation, "mean") == 0.7
    with pytest.raises(UserError, match="of a is not defined"):
        sweep.value_of(validation, "a")


def test_a_study_of_another_space_is_refused(trained, prepared_dir, tmp_path):
    space = tmp_path / "mine.py"
    source = "def sweep(trial):\n    return {'seed': trial.suggest_int('seed', 0, HIGH)}\n"
    space.write_text(source.replace("HIGH", "9"))
    run(tmp_path / "w", prepared_dir, f"--sweep={space}", "--trials=2")
    space.write_text(source.replace("HIGH", "8"))
    with pytest.raises(UserError, match="begun with another space"):
        run(tmp_path / "w", prepared_dir, f"--sweep={space}", "--trials=3")


def test_a_study_of_another_config_is_refused(trained, prepared_dir, tmp_path):
    run(tmp_path, prepared_dir, GRID)
    with pytest.raises(UserError, match=r"was begun with another train\.epochs"):
        run(tmp_path, prepared_dir, GRID, "--config.train.epochs=9")


def test_a_trial_waits_for_the_worker_that_is_still_in_its_folder(monkeypatch, tmp_path):
    tries = []

    def train(config, folder, *, test, after_validation):
        tries.append(folder)
        if len(tries) < 3:
            raise Busy("another process works there")
        return {"validation": {}}

    monkeypatch.setattr(sweep, "train", train)
    monkeypatch.setattr(sweep, "WAIT", 0)
    assert sweep.train_when_free(small(""), tmp_path, None) == {"validation": {}}
    assert tries == [tmp_path] * 3
