"""Folders that an older version left are still read, and nothing in them is misread.

`recorded/workdir.tar.xz` holds two runs of four steps on adult, of the version that first had all
of today's parts of a run (commit 26db03e): `run`, and `weighted` with `loss.positive_weights`.
Left out are pictures, events, and all but 500 of the predictions.
"""

import json
import pathlib
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from dtn_jax import train as training
from dtn_jax.analysis.finished import best_state, read_config
from dtn_jax.config import base_config, load_config, override
from dtn_jax.errors import UserError
from dtn_jax.run import build_run, score_split
from dtn_jax.train import train

RECORDED = pathlib.Path(__file__).parent / "recorded"
ASKED = (
    "configs/adult.py:model.architecture=mmoe,train.epochs=4,optim.schedule=constant,"
    "model.experts=mlp,model.embedding_dim=2,model.expert_dim=4,"
    "model.mlp.hidden=(4,),model.tower_hidden=(4,),data.batch_size=4096,train.max_steps=4,"
    "train.checkpoint_every=2,train.eval_every=2,train.log_every=1,parallel.devices=1,"
    "optim.learning_rate=0.03,optim.table_learning_rate=0.03"
)


@pytest.fixture
def folder(tmp_path):
    """The recorded folders, unpacked."""
    with tarfile.open(RECORDED / "workdir.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def asked(prepared_dir):
    """What those runs were asked for, as it is asked for today."""
    config = load_config(ASKED)
    config.data.data_dir = prepared_dir
    return config


def read(path: pathlib.Path) -> dict:
    return json.loads(path.read_text())


def trained(workdir: pathlib.Path) -> dict[int, list[float]]:
    """{step: its losses}"""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {
        r["step"]: [value for key, value in r.items() if key.startswith("loss/")]
        for r in records
        if r["kind"] == "train"
    }


def unfinish(workdir: pathlib.Path) -> None:
    """As if the run had been killed before its last checkpoint."""
    (workdir / "results.json").unlink()
    shutil.rmtree(workdir / "checkpoints/last/4")


def test_a_finished_run_is_shown(folder, asked, monkeypatch, capsys):
    monkeypatch.setattr(training, "fit", None)
    before = read(folder / "run/results.json")
    assert train(asked, folder / "run") == before
    assert "This run is finished" in capsys.readouterr().out


@pytest.mark.slow
def test_a_cut_run_goes_on_to_the_same_numbers(folder, asked, capsys):
    workdir = folder / "run"
    losses, results = trained(workdir), read(workdir / "results.json")
    unfinish(workdir)
    found = train(asked, workdir)
    assert "Resuming at step 2 of 4." in capsys.readouterr().out
    again = trained(workdir)
    assert list(again) == [1, 2, 3, 4]
    for step, expected in losses.items():
        np.testing.assert_allclose(again[step], expected, rtol=1e-6)
    assert found["best_steps"] == results["best_steps"]
    for key, expected in results["test"].items():
        for metric, value in expected.items():
            assert found["test"][key][metric] == pytest.approx(value, rel=1e-4), (key, metric)


def test_its_model_scores_as_it_did(folder, prepared_dir):
    workdir = folder / "run"
    config = read_config(workdir, base_config())
    config.data.data_dir = prepared_dir
    run = build_run(config)
    state, step = best_state(run, workdir)
    assert step == read(workdir / "results.json")["best_steps"]["mean"]
    scores = score_split(run, state, "test")
    recorded = pq.read_table(workdir / "predictions.parquet")
    for i, task in enumerate(run.schema.task_names):
        for name, got in (("logit", scores.logits), ("label", scores.labels)):
            expected = recorded[f"{name}/{task}"].to_numpy()
            assert np.ptp(expected) > 0.1  # a table of another order would show
            np.testing.assert_allclose(got[: len(expected), i], expected, atol=1e-5)


@pytest.mark.slow
def test_a_run_with_inflated_logits_is_shown_and_does_not_go_on(folder, asked, monkeypatch):
    workdir = folder / "weighted"
    override(asked, "loss.positive_weights", "income=3")
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", None)
        assert train(asked, workdir) == read(workdir / "results.json")
    unfinish(workdir)
    losses = trained(workdir)
    with pytest.raises(UserError, match="its logits held log w; train again in another folder"):
        train(asked, workdir)
    assert trained(workdir) == losses
