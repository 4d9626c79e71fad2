"""What a sweep refuses: studies begun otherwise, spaces and arguments that cannot be."""

import dataclasses

import pytest
from sweeps import run

from configs import base
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.search.trials import load_space, read_grid

DEFAULTS = base.get_config()
PAIR = "--grid=model.dropout=0,0.1"
pytestmark = pytest.mark.usefixtures("quick_storages")


def test_a_study_that_was_begun_otherwise_is_refused(trained, prepared_dir, tmp_path, monkeypatch):
    """With another config or data set."""
    given = (tmp_path / "w", prepared_dir)
    run(*given, "--trials=2")
    run(*given, "--trials=3", "--config.train.log_every=7")  # changes no result
    with pytest.raises(UserError, match=r"was begun with another train\.epochs; give another --st"):
        run(*given, "--config.train.epochs=9")
    read = catalog.read_data
    other = lambda config: dataclasses.replace(read(config), fingerprint="other")  # noqa: E731
    monkeypatch.setattr(catalog, "read_data", other)
    with pytest.raises(UserError, match="was begun with another data"):
        run(*given)
    assert len(trained) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampler=tp"], "unknown sampler 'tp'"),
        (["--trials=0"], "--trials=0: expected at least 1"),
        (["--grid=optim.learning_rat=1"], "optim.learning_rate"),
        (["--grid=seed"], "expected OPTION=VALUE,VALUE, got 'seed'"),
        (["--grid=seed=x"], "seed"),
        (["--grid=seed=1", "--sweep=x.py"], "leave --sweep and --trials out"),
        (["--grid=seed=1", "--trials=2"], "leave --sweep and --trials out"),
        (["--config.parallel.processes=auto"], "a trial is one run of one process"),
        (["--config.replicas=2"], "a trial is one run"),
        (["--grid=parallel.processes=off,auto"], "cannot set parallel.processes"),
        (["--grid=data.data_dir=/a,/b"], "cannot set data.data_dir, which changes no result"),
        (["--storage=postgresql://u:SECRET@h:abc/x"], "--storage cannot be read: expected sqlite"),
        (["--sweep=nowhere.py"], r"no file 'nowhere\.py'"),
        (["--storage=nosql://x"], "expected sqlite:///FILE, or the URL of a"),
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


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.select", "income", r"cannot set train\.select: trials would not compare"),
        ("model.architecture", "ple", "cannot set model.architecture: trials"),
        ("data.dataset", "synthetic", r"cannot set data\.dataset"),
        ("data.options", "rows=20000", r"cannot set data\.options: trials would not compare"),
        ("model.dropuot", "0.1", "Did you mean model.dropout"),
        ("model.dropout", "much", "model.dropout"),
    ],
)
def test_what_no_trial_can_have(key, value, message):
    with pytest.raises(UserError, match=message):
        read_grid(f"{key}={value}", DEFAULTS)


def test_a_space_that_asks_for_it_ends_with_the_third_trial(prepared_dir, tmp_path):
    (tmp_path / "mine.py").write_text("def sweep(trial):\n    return {'train.select': 'income'}")
    with pytest.raises(UserError, match="no trial succeeded; the last one: what is sear"):
        run(tmp_path / "w", prepared_dir, f"--sweep={tmp_path / 'mine.py'}")


def test_the_shipped_space_is_found_behind_a_config_without_one():
    for config in ("configs/adult.py:dtn", "configs/synthetic.py"):
        assert load_space("", config).__code__.co_filename.endswith("configs/space.py")


def test_a_grid_has_each_point_once_and_its_values_may_be_tuples():
    grid = read_grid("optim.learning_rate=1e-3,1e-3,2e-3;model.mlp.hidden=(8,),(9, 8)", DEFAULTS)
    points = [(rate, hidden) for rate in ("1e-3", "2e-3") for hidden in ("(8,)", "(9, 8)")]
    assert [tuple(point.values()) for point in grid] == points
    assert {*map(tuple, grid)} == {("optim.learning_rate", "model.mlp.hidden")}
    with pytest.raises(UserError, match="'seed' is given twice"):
        read_grid("seed=1;seed=2", DEFAULTS)


def test_a_damaged_storage_is_told(trained, prepared_dir, tmp_path):
    """Of the tables' pages, which SQLite opens."""
    run(tmp_path, prepared_dir, PAIR)
    storage = tmp_path / "sweep.db"
    data = storage.read_bytes()
    storage.write_bytes(data[:4096] + bytes(len(data) - 4096))
    with pytest.raises(UserError, match=r"sweep\.db.* is damaged: .* Move it away"):
        run(tmp_path, prepared_dir, PAIR)
