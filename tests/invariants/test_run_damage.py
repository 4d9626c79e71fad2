"""Damage to a finished run's folder is told by the file; what is lost is made anew."""

import json
import shutil

import pytest
from small_runs import small

from dtn_jax.errors import UserError
from dtn_jax.metrics.scores import read_predictions
from dtn_jax.run.train import train
from dtn_jax.schema import Schema

OPTIONS = {"train__max_steps": 30, "optim__table_learning_rate": 0.2}  # the best is not the last


@pytest.fixture(scope="module")
def finished(prepared_dir, tmp_path_factory):
    """(workdir, its results)"""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, train(small(prepared_dir, **OPTIONS), workdir)


@pytest.fixture
def again(finished, prepared_dir, tmp_path):
    """(a copy of the workdir, a call that trains there)"""
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    return workdir, lambda: train(small(prepared_dir, **OPTIONS), workdir)


def without_speed(results):
    return results | {"examples_per_second": 0}


@pytest.mark.parametrize("name", ["predictions", "validation"])
def test_lost_predictions_are_told_and_made_anew(uncut, prepared_dir, tmp_path, name):
    workdir = shutil.copytree(uncut[0], tmp_path / "run")
    path = workdir / f"{name}.parquet"
    before = data = path.read_bytes()
    for damaged in (b"", data[:200] + bytes([data[200] ^ 1]) + data[201:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"missing or damaged .*delete results\.json"):
            read_predictions(path, Schema.load(workdir / "schema.json"))
    (workdir / "results.json").unlink()
    assert without_speed(train(small(prepared_dir), workdir)) == without_speed(uncut[1])
    assert path.read_bytes() == before


@pytest.mark.slow
def test_an_edited_line_of_the_log_changes_no_result(finished, again):
    workdir, call = again
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    edited = [r | {"income@all/auc": 0.99} if r["kind"] == "validation" else r for r in lines]
    path.write_text("".join(json.dumps(record) + "\n" for record in edited))
    (workdir / "results.json").unlink()
    assert without_speed(call()) == without_speed(finished[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/last"])
def test_a_file_in_place_of_a_folder_is_told(again, name):
    workdir, call = again
    (workdir / "results.json").unlink()
    shutil.rmtree(workdir / name)
    (workdir / name).write_text("")
    with pytest.raises((UserError, OSError)) as caught:
        call()
    assert str(workdir / name) in str(caught.value)
