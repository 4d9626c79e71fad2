"""A run over several devices says what they exchange; the room of a message changes no number."""

import functools
import json

import pytest
from small_runs import STEPS, CutError, cut_after, logged, small

from dtn_jax.run.train import train

FEW = {"data__batch_size": 32}  # fewer ids on a device than rows, or nothing would travel


@pytest.fixture(scope="module")
def run(prepared_dir, tmp_path_factory, usual_fusions):
    """(parallel.message_rows) -> its folder, its results."""

    @functools.cache
    def trained(rows):
        workdir = tmp_path_factory.mktemp("run") / "run"
        changes = {"parallel__devices": 4, "parallel__message_rows": rows, **FEW}
        return workdir, train(small(prepared_dir, **changes), workdir)

    return trained


def exchanged(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == "train"]
    keys = {"rounds", "repeats", "fill", "MB"}
    return [{key: r[f"exchange/embedding/{key}"] for key in keys} for r in records]


@pytest.mark.slow
def test_the_log_and_the_results_say_what_travels(run):
    workdir, results = run(0)
    found = exchanged(workdir)
    assert len(found) > 1
    for one in found:
        assert one["rounds"] == 1
        assert 0 < one["repeats"] < 1
        assert 0 < one["fill"] <= 1
    steps = (20, 20, 5)  # between log lines
    mean = sum(n * one["repeats"] for n, one in zip(steps, found, strict=True)) / STEPS
    assert results["exchange"]["embedding"]["repeats"] == pytest.approx(mean)
    assert json.loads((workdir / "results.json").read_text())["exchange"] == results["exchange"]


@pytest.mark.nightly
def test_small_messages_take_more_rounds_to_the_same_bits(run):
    (one, expected), (other, results) = run(0), run(5)
    for large, small_ in zip(exchanged(one), exchanged(other), strict=True):
        assert small_["rounds"] > 2
        assert small_["repeats"] == large["repeats"]
        assert small_["fill"] > large["fill"]
    assert logged(one) == logged(other)
    assert results["test"] == expected["test"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(4, 1, marks=pytest.mark.slow),
        *(pytest.param(*n, marks=pytest.mark.nightly) for n in ((1, 4), (8, 4))),
    ],
)
def test_what_others_exchanged_is_not_told(before, after, prepared_dir, tmp_path, monkeypatch):
    """The run is cut at step 12, between log lines, and resumes on other devices."""
    config, workdir = small(prepared_dir, parallel__devices=before, **FEW), tmp_path / "run"
    with monkeypatch.context() as patch:
        cut_after(patch, 1)
        with pytest.raises(CutError):
            train(config, workdir)
    config.parallel.devices = after
    results = train(config, workdir)
    if after == 1:
        assert "exchange" not in results
    else:
        assert [one["rounds"] for one in exchanged(workdir)] == [1, 1, 1]
