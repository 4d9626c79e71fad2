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
        (["--grid="], "expected OPTION=VALUE,VALUE, got ''"),
        (["--grid=data.data_dir=/a,/b"], "cannot set data.data_dir: it says where or how a run"),
        (["--grid=train.checkpoint_every=5,7"], "give --config.train.checkpoint_every=VALUE"),
        (["--seed=-1"], "--seed=-1: expected a whole number from 0 to 4294967295"),
        (["--seed=4294967296"], "--seed=4294967296: expected a whole number"),
        (["--study=../../x"], r"--study='../../x': expected the name of one folder"),
        (["--study=/x"], "expected the name of one folder"),
        (["--study=.."], "expected the name of one folder"),
        (["--study=" + "z" * 300], "a name of at most 255 bytes"),
        (["--storage=sqlite://"], "'sqlite://' is in memory"),
        (["--storage=sqlite:///:memory:"], "is in memory"),
        (["--storage=sqlite:///file:x?mode=memory&uri=true"], "is in memory"),
        (["--storage=postgresql://u:SECRET@h:abc/x"], "'postgresql://u:.*@h:abc/x': expected a"),
        (["--storage=postgresql://u:SECRET@h:99999/x"], "expected a port from 1 to 65535"),
        (["--workdir=README.md"], "README.md is a file, expected a folder"),
        (["--workdir=README.md/x/y"], "README.md/x/y cannot be a folder: .*README.md is a file"),
        (["--workdir=" + "y" * 300], "a name of 300 bytes"),
        (["--workdir=gs://bucket/x"], "is a URL, expected a folder of this machine"),
        (["--sampler=grid"], "--sampler=grid needs a --grid"),
        (["--sweep=nowhere.py"], r"no file 'nowhere\.py'"),
        (["--storage=nosql://x"], "storage 'nosql://x' cannot be opened"),
    ],
)
def test_bad_arguments_are_named(arguments, message, prepared_dir, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        run(tmp_path / "w", prepared_dir, *arguments)
    assert "SECRET" not in str(caught.value)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("where", ["at import", "in a draw"])
def test_a_space_that_ends_the_process_is_told(where, prepared_dir, tmp_path):
    space = tmp_path / "mine.py"
    ends = "import sys\nsys.exit(0)\n"
    space.write_text(
        ends if where == "at import" else "import sys\ndef sweep(trial):\n    sys.exit(0)\n"
    )
    with pytest.raises(UserError, match=r"fails.*, line \d: SystemExit: 0"):
        run(tmp_path / "w", prepared_dir, f"--sweep={space}")


def test_the_same_value_twice_is_told(trained, prepared_dir, tmp_path, capsys):
    run(tmp_path, prepared_dir, "--grid=optim.learning_rate=1e-3,0.001,2e-3")
    assert "note: --grid: optim.learning_rate has the value 0.001 twice" in capsys.readouterr().out
    assert len(trained) == 2


@pytest.mark.parametrize("name", ["a?b=1", "p%41", "h#h", "m[x]", "e{f}", "a@b:c"])
def test_any_folder_holds_its_search(trained, prepared_dir, tmp_path, name):
    workdir = tmp_path / name
    run(workdir, prepared_dir, "--grid=model.dropout=0,0.1", "--study=[red]", folder="[red]")
    assert (workdir / "[red]" / "sweep.db").exists()
    assert [p.name for p in tmp_path.iterdir()] == [name]
