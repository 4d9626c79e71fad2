"""Runs with D2Q: seconds come out, whoever computes them, and wherever a run is cut."""

import json

import numpy as np
import polars as pl
import pytest
from d2q_log import config, prepared_films
from own_log import split_frames
from scipy.stats import spearmanr
from small_runs import CutError, assert_same_run, cut_after, logged

from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.export.write.again import make_again
from dtn_jax.replicas import train_replicas
from dtn_jax.train import train


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The folder of a prepared log, and its test rows."""
    folder = tmp_path_factory.mktemp("films")
    return folder, split_frames(prepared_films(folder, 12_000))["test"]


@pytest.fixture(scope="module")
def trained(log):
    """The folder of a run, and what it scored test's rows, in their order."""
    folder, _ = log
    train(config(folder, train__epochs=4), folder / "run")
    return folder / "run", pl.read_parquet(folder / "run/predictions.parquet").sort("row")


@pytest.mark.slow
def test_seconds_of_a_known_answer_are_found(log, trained):
    """Watch times are duration times what the user's mood decides, times a noise."""
    _, test = log
    run, kept = trained
    scores, truth = kept["score/watch"].to_numpy(), test["truth"].to_numpy()
    known = test["duration"].is_not_null().to_numpy()
    error = np.abs(np.log(scores[known] / truth[known]))
    assert np.median(scores[known] / truth[known]) == pytest.approx(1, abs=0.05)
    assert np.median(error) < 0.15  # a mood is 0.21 from the next
    order = np.flatnonzero(known)[np.argsort(test["duration"].to_numpy()[known])]
    for rows in np.array_split(order, 16):
        assert spearmanr(scores[rows], test["mood"].to_numpy()[rows])[0] > 0.95
    results = json.loads((run / "results.json").read_text())["test"]["watch@all"]
    clicked = kept["label/watch"].is_not_null().to_numpy()
    seconds = kept["label/watch"].to_numpy()[clicked]
    rmse = np.sqrt(np.mean((scores[clicked] - seconds) ** 2))
    assert results["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert rmse < 0.5 * seconds.std()
    assert results["xauc"] > 0.9


@pytest.mark.slow
def test_an_exported_model_gives_the_runs_seconds(log, trained, tmp_path):
    """Of raw rows, unknown durations too; and so does its program made anew without the data."""
    _, test = log
    run, kept = trained
    scores = kept["score/watch"].to_numpy()
    rows = test.drop("truth", "watch", "click")
    model = export_run([run], tmp_path / "model", say=lambda told: None)
    assert rows["duration"].null_count() > 5
    for _ in range(2):
        got = load(model).score(rows)["watch@all"].to_numpy()
        np.testing.assert_allclose(got, scores, rtol=1e-5)
        make_again(model, say=lambda told: None)
    longer = rows.with_columns(pl.col("duration") * 4)
    assert np.median(load(model).score(longer)["watch@all"].to_numpy() / scores) > 2
    card = (model / "card.md").read_text()
    assert "| watch | regression | the label at its mean quantile for the duration |" in card
    only = export_run([run], tmp_path / "watch", tasks=("watch",), say=lambda told: None)
    make_again(only, say=lambda told: None)
    np.testing.assert_allclose(load(only).score(rows)["watch@all"].to_numpy(), scores, rtol=1e-5)
    click = export_run([run], tmp_path / "click", tasks=("click",), say=lambda told: None)
    make_again(click, say=lambda told: None)


def short(folder, **changes):
    steps = {"max_steps": 20, "eval_every": 10, "checkpoint_every": 10, "log_every": 10}
    changes = {f"train__{name}": n for name, n in steps.items()} | changes
    return config(folder, optim__eps=1e-4, analysis__rows=256, **changes)


@pytest.fixture(scope="module")
def whole(log):
    """A short run on one device."""
    folder, _ = log
    train(short(folder), folder / "short")
    assert any("cosine:click:watch" in record for record in logged(folder / "short"))
    return folder / "short"


@pytest.mark.slow
def test_a_run_that_is_cut_resumes_bit_by_bit(log, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 1)
        train(short(log[0]), tmp_path / "run")
    train(short(log[0]), tmp_path / "run")
    assert_same_run(short(log[0]), whole, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["shard", "pmap"])
def test_eight_devices_do_what_one_does(log, whole, tmp_path, strategy):
    c = short(log[0], parallel__devices=8, parallel__strategy=strategy)
    train(c, tmp_path / "run")
    assert_near(whole, tmp_path / "run")


@pytest.mark.slow
def test_a_batch_in_parts_is_the_batch(log, whole, tmp_path):
    train(short(log[0], train__accumulate=2), tmp_path / "run")
    assert_near(whole, tmp_path / "run")


@pytest.mark.slow
def test_replicas_are_the_runs_that_they_would_be_alone(log, whole, tmp_path):
    c = short(log[0], replicas="seed=0,1")
    assert config(log[0]).seed == 0
    train_replicas(c, tmp_path / "runs")
    assert_near(whole, tmp_path / "runs/replica_0")


def assert_near(one, other):
    """The logs, and the scores of test's rows."""
    for a, b in zip(logged(one), logged(other), strict=True):
        numbers = {key: value for key, value in a.items() if isinstance(value, float)}
        assert numbers
        assert {key: b[key] for key in numbers} == pytest.approx(numbers, rel=1e-3, abs=1e-5)
    a, b = (pl.read_parquet(run / "predictions.parquet").sort("row") for run in (one, other))
    np.testing.assert_allclose(a["score/watch"], b["score/watch"], rtol=1e-3)
