"""Runs whose losses need more than a row: D2Q gives seconds, and the term of pairs ranks groups."""

import json

import numpy as np
import polars as pl
import pytest
from d2q_log import config, prepared_films
from dated_runs import dated
from scipy.stats import spearmanr
from small_runs import logged
from world.log import split_frames

from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.export.write.again import make_again
from dtn_jax.run.train import train

GIVEN = {
    "loss__pairwise": "click=2",
    "data__order": "shuffled",
    "train__evaluate_first": False,
    "data__batch_size": 128,
    "train__epochs": 6,
    "train__log_every": 1,
    "train__eval_every": 60,
    "train__checkpoint_every": 60,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("dated")


@pytest.fixture(scope="module")
def ranked(root, tmp_path_factory):
    """The workdir of a run, and its results."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, train(dated(root, **GIVEN), workdir)


def losses(workdir):
    return np.array([r["loss/click"] for r in logged(workdir) if r["kind"] == "train"])


@pytest.mark.slow
def test_a_run_learns_the_order_within_groups(ranked):
    workdir, results = ranked
    found = losses(workdir)
    assert found[-5:].mean() < 0.9 * found[:5].mean()
    assert results["validation"]["click@all"]["gauc"] > 0.6


# D2Q.


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The folder of a prepared log, and its test rows."""
    folder = tmp_path_factory.mktemp("films")
    return folder, split_frames(prepared_films(folder, 20_000))["test"]


@pytest.fixture(scope="module")
def trained(log):
    """The folder of a run on two devices, and what it scored test's rows, in their order."""
    folder, _ = log
    train(config(folder, train__epochs=4, parallel__devices=2), folder / "run")
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
    card = (model / "README.md").read_text()
    assert "| watch | regression | the label at its mean quantile for the duration |" in card
    only = export_run([run], tmp_path / "watch", tasks=("watch",), say=lambda told: None)
    make_again(only, say=lambda told: None)
    np.testing.assert_allclose(load(only).score(rows)["watch@all"].to_numpy(), scores, rtol=1e-5)
    click = export_run([run], tmp_path / "click", tasks=("click",), say=lambda told: None)
    make_again(click, say=lambda told: None)
