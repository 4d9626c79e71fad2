"""Sweeps of real runs: test stays shut, and folders of others are left alone."""

import json

import numpy as np
import optuna
import polars as pl
import pytest
from sweeps import TINY, run

from dtn_jax.datasets import adult
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader


def test_real_trials_leave_test_shut_and_are_drawn(prepared_dir, tmp_path, drawn):
    found = run(tmp_path, prepared_dir, "--grid=optim.learning_rate=1e-3,1e-2", *TINY)
    assert 0.3 < found["shared_bottom"]["value"] < 1
    results = json.loads((tmp_path / "shared_bottom" / "trial_0" / "results.json").read_text())
    assert "test" not in results
    assert not list(tmp_path.rglob("predictions.parquet"))
    for kind in ("history", "parallel", "importance"):
        assert (tmp_path / f"shared_bottom_{kind}.png").stat().st_size > 5_000


def test_test_labels_pick_nothing(prepared_dir, tmp_path, monkeypatch):
    """With the test split's labels shuffled, the same trials have the same values."""
    tiny = [*TINY, "--grid=optim.learning_rate=1e-2,1e-1"]
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


def test_a_folder_of_other_trials_is_no_trial(prepared_dir, tmp_path):
    """The first sweep's report stays."""
    first = run(tmp_path, prepared_dir, "--grid=seed=1", *TINY)
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with pytest.raises(
        UserError, match=r"shared_bottom: workdir .*trial_0 belongs to another config"
    ):
        run(tmp_path, prepared_dir, "--grid=seed=2,3", f"--storage={url}", *TINY)
    assert json.loads((tmp_path / "sweep.json").read_text())["studies"] == first
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    assert [t.state.name for t in trials] == ["FAIL", "WAITING"]
    assert not any("error" in t.user_attrs for t in trials)
