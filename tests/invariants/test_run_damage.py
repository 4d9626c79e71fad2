"""Damage to a finished run's folder: mended where the states are there, else told by the file."""

import json
import shutil

import pytest
from small_runs import small

from dtn_jax.errors import UserError
from dtn_jax.selection import best_step
from dtn_jax.train import train

pytestmark = pytest.mark.slow
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


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_lost_predictions_are_made_anew(finished, again, capsys, damage):
    workdir, call = again
    path = workdir / "predictions.parquet"
    before = data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[:100])
    else:
        path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    assert call() == finished[1]
    step = best_step(finished[1])
    assert f"scored again from the best state, at step {step}" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert call() == finished[1]
    assert "scored again" not in capsys.readouterr().out


def test_a_folder_in_place_of_predictions_is_told(finished, again, capsys):
    workdir, call = again
    path = workdir / "predictions.parquet"
    path.unlink()
    path.mkdir()
    assert call() == finished[1]
    told = f"warning: {path} is a folder, and it cannot be made anew: {path}: Is a directory; a fo"
    assert told in capsys.readouterr().out


def test_lost_predictions_whose_state_is_lost_too_are_told(finished, again, capsys):
    workdir, call = again
    (workdir / "predictions.parquet").unlink()
    shutil.rmtree(workdir / "checkpoints")
    assert call() == finished[1]
    said = capsys.readouterr().out
    assert f"warning: {workdir / 'predictions.parquet'} is missing, and it cannot be made" in said
    assert "best state, is not there" in said


def test_an_edited_line_of_the_log_changes_no_result(finished, again):
    workdir, call = again
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    edited = [r | {"income@all/auc": 0.99} if r["kind"] == "validation" else r for r in lines]
    path.write_text("".join(json.dumps(record) + "\n" for record in edited))
    (workdir / "results.json").unlink()
    assert without_speed(call()) == without_speed(finished[1])


def test_a_validation_that_is_kept_nowhere_is_scored_again(finished, again, capsys):
    """A checkpoint of an earlier version, and a line of the log that is gone."""
    workdir, call = again
    progress = workdir / "checkpoints/last/30/progress/metadata"
    saved = json.loads(progress.read_text())
    assert saved.pop("validation") == finished[1]["validation"]
    progress.write_text(json.dumps(saved))
    (workdir / "checkpoints/last/30/checksums.json").unlink()
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    best = best_step(finished[1])
    left = [r for r in lines if r["kind"] != "validation" or r["step"] != best]
    assert len(left) < len(lines)
    path.write_text("".join(json.dumps(record) + "\n" for record in left))
    (workdir / "results.json").unlink()
    found = call()
    assert without_speed(found) == without_speed(finished[1])
    assert f"lacks the validation of step {best}: its best" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/last"])
def test_a_file_in_place_of_a_folder_is_told(again, name):
    workdir, call = again
    (workdir / "results.json").unlink()
    shutil.rmtree(workdir / name)
    (workdir / name).write_text("")
    with pytest.raises((UserError, OSError)) as caught:
        call()
    assert str(workdir / name) in str(caught.value)


def test_a_file_in_place_of_tensorboards_folder_costs_its_events_alone(again, finished, capsys):
    workdir, call = again
    (workdir / "results.json").unlink()
    shutil.rmtree(workdir / "tensorboard")
    (workdir / "tensorboard").write_text("")
    assert without_speed(call()) == without_speed(finished[1])
    assert "warning: tracker tensorboard failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (None, "last/30 cannot be used: its progress is damaged .*Move it away"),
        ({"best": {}}, "last/30 cannot be used: its progress is damaged .*Move it away"),
        ({"best": {"mean": 7}}, "last/30 cannot be used: its progress is damaged .*Move it away"),
    ],
)
def test_a_progress_that_is_none_is_told(again, prepared_dir, progress, said):
    workdir, call = again
    (workdir / "results.json").unlink()
    for step in (24, 30):
        path = workdir / f"checkpoints/last/{step}"
        (path / "progress/metadata").write_text(json.dumps(progress))
        (path / "checksums.json").unlink()
    with pytest.raises(UserError, match=said):
        call()


def test_a_checkpoint_of_another_step_is_not_used(again):
    workdir, call = again
    (workdir / "results.json").unlink()
    (workdir / "checkpoints/last/30").rename(workdir / "checkpoints/last/70")
    with pytest.raises(UserError, match=r"last/70 cannot be used: it holds the state of step 30"):
        call()


def test_the_predictions_are_not_written_through_a_link(again, tmp_path):
    workdir, call = again
    path = workdir / "predictions.parquet"
    path.unlink()
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    call()
    assert (tmp_path / "precious").read_text() == "precious"
    assert not path.is_symlink()
