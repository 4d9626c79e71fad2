"""Folders that no run may claim: with other things, damaged, or of an older version."""

import json
from unittest.mock import Mock

import claimed_folders
import pytest
from claimed_folders import FINGERPRINT, RESULTS, claim, refused

from dtn_jax import train, workdir
from dtn_jax.analysis.finished import best_state
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.run import Run
from dtn_jax.workdir import Workdir

claimed = claimed_folders.claimed

# ---------------------------------------------------------------- whose logits held log w


def of_an_older_version(path, weights):
    """A run's folder as it was before logits were log-odds."""
    claim(path, loss__positive_weights=weights)
    facts = json.loads((path / "config.json").read_text())
    assert facts.pop("logits") == "log-odds"
    (path / "config.json").write_text(json.dumps(facts))
    return path


def test_inflated_logits_are_not_trained_on(tmp_path):
    weights = "income=3,never_married=1"
    folder = of_an_older_version(tmp_path / "run", weights)
    message = refused(folder, loss__positive_weights=weights)
    assert "checkpoints in" in message
    assert "its logits held log w; train again in another folder" in message
    (folder / "results.json").write_text(json.dumps(RESULTS))  # finished: its results are right
    assert claim(folder, loss__positive_weights=weights).results() == RESULTS


def test_inflated_logits_are_not_scored_with(tmp_path):
    folder = of_an_older_version(tmp_path / "run", "income=3")
    (folder / "results.json").write_text("{}")
    run = Mock(Run, data=Mock(fingerprint=FINGERPRINT))
    with pytest.raises(workdir.Unusable, match="its logits held log w"):
        best_state(run, folder)
    with pytest.raises(workdir.Unusable, match="its logits held log w"):  # a trial without test
        train.start(run, Mock(Workdir, path=folder), Mock(Checkpoints))


@pytest.mark.parametrize("weights", ["", "income=1"])
def test_older_runs_whose_positives_weigh_1_go_on(weights, tmp_path):
    folder = of_an_older_version(tmp_path / "run", weights)
    claim(folder, loss__positive_weights=weights)


# ---------------------------------------------------------------- what is refused besides


@pytest.mark.parametrize("name", ["thesis.tex", ".hidden", "folder/"])
def test_a_folder_with_other_things_is_refused(tmp_path, name):
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("dear")
    message = refused(tmp_path)
    assert f"workdir {tmp_path} is not empty and holds no run (no config.json)" in message


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("dear")
    message = refused(tmp_path / "file")
    assert message == f"workdir {tmp_path / 'file'} is a file, expected a folder"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("dear")
    message = refused(tmp_path / "file/run")
    path = tmp_path / "file/run"
    assert f"workdir {path} cannot be written: {path}: Not a directory; a file stands" in message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"config": {"seed"',
        b"[]",
        b"3",
        b"{}",
        b'{"config": {}}',
        b'{"config": 3, "data": "x"}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_config_is_refused(claimed, text):
    (claimed / "config.json").write_bytes(text)
    message = refused(claimed)
    assert f"{claimed / 'config.json'} is damaged" in message
    assert "name another folder" in message
