"""What a sweep refuses: studies begun otherwise, arguments that cannot be."""

import dataclasses

import pytest
from sweeps import GRID, run

from dtn_jax.errors import UserError
from experiments import sweep


def test_a_study_of_other_data_is_refused(trained, prepared_dir, tmp_path, monkeypatch):
    run(tmp_path, prepared_dir, GRID)
    read = sweep.read_data
    other = lambda config: dataclasses.replace(read(config), fingerprint="other")  # noqa: E731
    monkeypatch.setattr(sweep, "read_data", other)
    with pytest.raises(UserError, match="was begun with another data"):
        run(tmp_path, prepared_dir, GRID)


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
