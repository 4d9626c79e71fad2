"""A run's model: its folder, and that it says what the run says."""

import json

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
from dtn_jax.train import train
from experiments import export

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def workdir(prepared_dir, tmp_path_factory, without_pictures):
    workdir = tmp_path_factory.mktemp("export") / "run"
    train(small(prepared_dir), workdir)
    return workdir


@pytest.fixture(scope="module")
def model(workdir):
    return export_run([workdir], workdir.parent / "model")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_logits_are_those_of_the_run(workdir, model, prepared_dir, size):
    run = build_run(small(prepared_dir))
    state, _ = best_state(run, workdir)
    batch = next(in_order(run.data, "validation", size, slice(0, size)))
    expected = np.asarray(run.score_step(state, batch))
    np.testing.assert_allclose(opened(model).logits(batch), expected, rtol=0, atol=1e-6)


def test_the_folder_says_where_nothing_lies(workdir, model):
    texts = [path.read_text() for path in model.rglob("*.json")]
    assert len(texts) == 5
    assert not [text for text in texts if str(workdir.parents[1]) in text]


def test_a_model_that_is_there_is_kept_unless_it_is_to_be_replaced(workdir, model, tmp_path):
    out = tmp_path / "model"
    given = [f"--workdir={workdir}", f"--out={out}"]
    export.main(given)
    (out / "old").touch()
    with pytest.raises(UserError, match="--replace"):
        export.main(given)
    assert (out / "old").exists()
    export.main([*given, "--replace"])
    assert not (out / "old").exists()
    model_folder.read_manifest(out)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_export_that_fails_leaves_nothing(workdir, tmp_path, monkeypatch):
    def fails(folder, facts):
        raise RuntimeError

    monkeypatch.setattr("dtn_jax.export.model_folder.write_manifest", fails)
    with pytest.raises(RuntimeError):
        export_run([workdir], tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_other_things_are_not_replaced(workdir, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no model"):
        export_run([workdir], tmp_path, replace=True)
    assert json.loads((workdir / "results.json").read_text())
