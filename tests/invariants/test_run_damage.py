"""Damage to a finished run's folder: mended where the states are there, else told by the file."""

import json
import shutil

import pytest
from small_runs import small

from dtn_jax.errors import UserError
from dtn_jax.files import HASHES, files_in, hashes
from dtn_jax.run.selection import best_step
from dtn_jax.run.train import train

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


@pytest.mark.parametrize(
    ("name", "damage"),
    [("predictions", "missing"), ("predictions", "flipped"), ("validation", "missing")],
)
def test_lost_predictions_are_made_anew(uncut, prepared_dir, tmp_path, capsys, name, damage):
    workdir = shutil.copytree(uncut[0], tmp_path / "run")
    path = workdir / f"{name}.parquet"
    before = data = path.read_bytes()
    path.unlink()
    if damage == "flipped":
        path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    for told in (True, False):
        assert train(small(prepared_dir), workdir) == uncut[1]
        again = f"scored again from the best state, at step {best_step(uncut[1])}"
        assert (again in capsys.readouterr().out) == told
        assert path.read_bytes() == before


@pytest.mark.slow
def test_lost_predictions_whose_state_is_lost_too_are_told(finished, again, capsys):
    workdir, call = again
    (workdir / "predictions.parquet").unlink()
    shutil.rmtree(workdir / "checkpoints")
    assert call() == finished[1]
    said = capsys.readouterr().out
    assert f"warning: {workdir / 'predictions.parquet'} is missing, and it cannot be made" in said
    assert "a best state is missing or damaged" in said


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


@pytest.mark.slow
@pytest.mark.parametrize("progress", [None, {"best": {"mean": 7}}])
def test_a_progress_that_is_none_is_told(again, progress):
    workdir, call = again
    (workdir / "results.json").unlink()
    for step in (24, 30):
        path = workdir / f"checkpoints/last/{step}"
        (path / "progress.json").write_text(json.dumps(progress))
        (path / HASHES).write_text(json.dumps(hashes(files_in(path))))
    with pytest.raises(UserError, match="the progress of the last checkpoint is damaged"):
        call()
