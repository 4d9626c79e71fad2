"""A run's model: its folder, and that it says what the run says."""

import errno
import json
import os

import numpy as np
import pytest
from called_programs import opened
from small_runs import small

from dtn_jax.analysis.finished import best_state
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.write import export_run
from dtn_jax.input.reader import in_order
from dtn_jax.run import build_run
from experiments import export


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_logits_are_those_of_the_run(finished_run, exported_model, prepared_dir, size):
    run = build_run(small(prepared_dir))
    state, _ = best_state(run, finished_run)
    batch = next(in_order(run.data, "validation", size, slice(0, size)))
    expected = np.asarray(run.score_step(state, batch))
    np.testing.assert_allclose(opened(exported_model).logits(batch), expected, rtol=0, atol=1e-6)


def test_the_folder_says_where_nothing_lies(finished_run, exported_model):
    paths = [*exported_model.rglob("*.json"), exported_model / "card.md"]
    texts = [path.read_text() for path in paths]
    assert len(texts) == 7
    assert not [text for text in texts if str(finished_run.parents[1]) in text]


def test_a_card_knows_which_data_were_ranked(exported_model):
    """People of a census were shown by nothing: test_card.py has a log."""
    assert "ranked" not in (exported_model / "card.md").read_text()


def test_a_model_is_replaced_only_where_asked_for(finished_run, exported_model, tmp_path):
    out = tmp_path / "model"
    given = [f"--workdir={finished_run}", f"--out={out}"]
    export.main(given)
    (out / "old").touch()
    with pytest.raises(UserError, match="--replace"):
        export.main(given)
    assert (out / "old").exists()
    export.main([*given, "--replace"])
    assert not (out / "old").exists()
    model_folder.read_manifest(out)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_export_that_fails_leaves_nothing(finished_run, tmp_path, monkeypatch):
    def fails(folder, facts):
        raise RuntimeError

    monkeypatch.setattr("dtn_jax.export.model_folder.write_manifest", fails)
    with pytest.raises(RuntimeError):
        export_run([finished_run], tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing(finished_run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dtn_jax.export.write.weights.WeightsFile.write", full)
    with pytest.raises(UserError, match="No space left on device"):
        export_run([finished_run], tmp_path / "model")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        export_run([finished_run], tmp_path / "file" / "model")


def test_other_things_are_not_replaced(finished_run, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no model"):
        export_run([finished_run], tmp_path, replace=True)
    assert json.loads((finished_run / "results.json").read_text())
