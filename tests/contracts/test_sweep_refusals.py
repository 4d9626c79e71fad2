"""What a sweep refuses: studies begun otherwise, spaces and arguments that cannot be."""

import dataclasses

import pytest
from sweeps import run, with_database

from configs import base
from dtn_jax.errors import UserError
from dtn_jax.search import sweep
from dtn_jax.search.search_space import described, load_space, read_grid

DEFAULTS = base.get_config()
PAIR = "--grid=model.dropout=0,0.1"


def test_a_study_that_was_begun_otherwise_is_refused(trained, prepared_dir, tmp_path, monkeypatch):
    """With another space, config or data set."""
    space = tmp_path / "mine.py"
    source = "def sweep(trial):\n    return {'seed': trial.suggest_int('seed', 0, HIGH)}\n"
    given = (tmp_path / "w", prepared_dir, f"--sweep={space}")
    space.write_text(source.replace("HIGH", "9"))
    run(*given, "--trials=2")
    run(*given, "--trials=3", "--config.train.log_every=7")  # changes no result
    with pytest.raises(UserError, match=r"was begun with another train\.epochs; give another --st"):
        run(*given, "--config.train.epochs=9")
    space.write_text(source.replace("HIGH", "8"))
    with pytest.raises(UserError, match="begun with another space"):
        run(*given, "--trials=3")
    space.write_text(source.replace("HIGH", "9"))
    read = sweep.read_data
    other = lambda config: dataclasses.replace(read(config), fingerprint="other")  # noqa: E731
    monkeypatch.setattr(sweep, "read_data", other)
    with pytest.raises(UserError, match="was begun with another data"):
        run(*given)
    assert len(trained) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampler=tp"], "unknown sampler 'tp'"),
        (["--architectures=moe"], "unknown architecture 'moe'"),
        (["--trials=0"], "--trials=0: expected at least 1"),
        (["--grid=optim.learning_rat=1"], "optim.learning_rate"),
        (["--grid=seed"], "expected OPTION=VALUE,VALUE, got 'seed'"),
        (["--grid=seed=x"], "seed"),
        (["--grid=seed=1", "--sweep=x.py"], "give one"),
        (["--config.parallel.processes=auto"], "a trial is one process"),
        (["--config.replicas=2"], "a trial is one run"),
        (["--grid=parallel.processes=off,auto"], "cannot set parallel.processes"),
        (["--grid=data.data_dir=/a,/b"], "cannot set data.data_dir: it says where or how a run"),
        (["--grid=train.checkpoint_every=5,7"], "give --config.train.checkpoint_every=VALUE"),
        (["--seed=-1"], "--seed=-1: expected at least 0 and at most 4,294,967,295"),
        (["--study=../../x"], r"--study='../../x': expected the name of one folder"),
        (["--storage=sqlite://"], "'sqlite://' is in memory"),
        (["--storage=postgresql://u:SECRET@h:abc/x"], "--storage is not a URL that can be read"),
        (["--sweep=nowhere.py"], r"no file 'nowhere\.py'"),
        (["--storage=nosql://x"], "expected sqlite:///FILE, the URL of a"),
    ],
)
def test_bad_arguments_are_named(arguments, message, prepared_dir, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        run(tmp_path / "w", prepared_dir, *arguments)
    assert "SECRET" not in str(caught.value)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def sweep(trial):\n    return 1 / 0", "the space .*mine.py fails, line 2: ZeroDiv"),
        ("import sys\ndef sweep(trial):\n    sys.exit(0)", r"fails.*, line \d: SystemExit: 0"),
        ("sweep =", "fails, line 1: SyntaxError"),
        ("def search(trial): ...", "has no function sweep"),
    ],
)
def test_a_file_without_a_space_is_told(text, message, prepared_dir, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message):
        run(tmp_path / "w", prepared_dir, f"--sweep={tmp_path / 'mine.py'}")


def space_of(high=9, fixed="cosine", rare=8):
    """A space with an option that only some trials have."""

    def suggest(trial):
        seed = trial.suggest_int("seed", 0, high)
        found = {"seed": seed, "optim.schedule": fixed}
        if seed == rare:
            found["model.dropout"] = trial.suggest_float("half", 0, 0.2)
        return found

    return suggest


def test_a_space_is_told_by_its_options_ranges_and_what_it_fixes():
    told = described(space_of(), DEFAULTS)
    assert told == described(space_of(), DEFAULTS)
    assert '"model.dropout"' in told
    assert '"half"' in told
    assert '"fixed": {"optim.schedule": "cosine"}' in told
    for other in (space_of(high=8), space_of(fixed="linear"), space_of(rare=99)):
        assert described(other, DEFAULTS) != told


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.select", "income", r"cannot set train\.select: trials would not compare"),
        ("model.architecture", "ple", "cannot set model.architecture: .*; use --architectures"),
        ("data.dataset", "synthetic", r"cannot set data\.dataset"),
        ("data.options", "rows=20000", r"cannot set data\.options: trials would not compare"),
        ("model.dropuot", "0.1", "Did you mean model.dropout"),
        ("model.dropout", "much", "model.dropout"),
    ],
)
def test_what_no_trial_can_have_is_told_before_the_first(key, value, message):
    with pytest.raises(UserError, match=message):
        described(lambda trial: {key: value}, DEFAULTS)
    with pytest.raises(UserError, match=message):
        read_grid(f"{key}={value}", DEFAULTS)


def test_the_shipped_space_is_found_behind_a_config_without_one():
    found = load_space("", "configs/adult.py:dtn")
    assert found.__module__ == "dtn_jax.configs.space"
    assert '"optim.table_l2"' in described(found, DEFAULTS)
    found = load_space("", "configs/synthetic.py")
    assert '"optim.table_learning_rate"' in described(found, DEFAULTS)


def test_a_grid_has_each_point_once_and_its_values_may_be_tuples(capsys):
    grid = read_grid(
        "optim.learning_rate=1e-3,0.001,2e-3;model.mlp.hidden=(8,),(8, ),(9, 8)", DEFAULTS
    )
    assert "note: --grid: optim.learning_rate has the value 0.001 twice" in capsys.readouterr().out
    hidden = ["(8,)", "(9, 8)"]
    assert grid == {"optim.learning_rate": ["1e-3", "2e-3"], "model.mlp.hidden": hidden}
    with pytest.raises(UserError, match="'seed' is given twice"):
        read_grid("seed=1;seed=2", DEFAULTS)


def test_a_damaged_storage_is_told(trained, prepared_dir, tmp_path):
    """Of the tables' pages, which SQLite opens."""
    with_database(tmp_path, prepared_dir, PAIR)
    storage = tmp_path / "sweep.db"
    data = storage.read_bytes()
    storage.write_bytes(data[:4096] + bytes(len(data) - 4096))
    with pytest.raises(UserError, match=r"sweep\.db.* is damaged: .* move it away"):
        with_database(tmp_path, prepared_dir, PAIR)
