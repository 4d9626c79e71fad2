"""Runs on own logs: another folder, importance, and what a sweep may not change."""

import json

import pytest
from world import log

from dtn_jax.cli import feature_importance, sweep, train
from dtn_jax.errors import UserError

SMALL = (
    "model.experts=mlp,model.mlp.hidden=4,model.expert_dim=4,model.tower_hidden=4,"
    "model.embedding_dim=4,train.max_steps=2,data.batch_size=64"
)


@pytest.fixture(scope="module")
def shop(prepared_dir):
    """(set, folder) of a log."""
    return log.shared(prepared_dir)[1:]


@pytest.fixture(scope="module")
def arguments(shop):
    """(architecture, the workdir) -> those of a command."""

    def of(architecture, workdir):
        schema, data = (shop[1] / name for name in ("shop.yaml", "data"))
        argument = f"{architecture},schema={schema},{SMALL},parallel.devices=1"
        config = f"--config=configs/logs.py:{argument}"
        return [config, f"--workdir={workdir}", f"--config.data.data_dir={data}"]

    return of


@pytest.fixture(scope="module")
def trained(arguments, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "dtn"
    train.main(arguments("dtn", workdir))
    return workdir


def test_a_run_goes_on_from_another_folder(shop, trained, tmp_path, monkeypatch, capsys):
    """The schema file was moved, and is named by a relative path; a comment was added."""
    log.schema_file(tmp_path, log.SCHEMA + "# the shop's log\n")
    monkeypatch.chdir(tmp_path)
    given = [f"--workdir={trained}", f"--config.data.data_dir={shop[1] / 'data'}"]
    source = f"--config=configs/logs.py:dtn,{SMALL},parallel.devices=1,schema="
    train.main([f"{source}shop.yaml", *given])
    assert "This run is finished" in capsys.readouterr().out
    log.schema_file(tmp_path, log.SCHEMA.replace("buckets: 8", "buckets: 9"), "other.yaml")
    with pytest.raises(UserError, match="was prepared from another schema file than"):
        train.main([f"{source}other.yaml", *given])


def test_importance(trained, monkeypatch):
    monkeypatch.setattr("dtn_jax.analysis.segments.FEWEST", 1)
    given = ["--methods=permutation", "--repeats=1", "--segment=hour"]
    feature_importance.main([f"--workdir={trained}", *given])
    found = json.loads((trained / "importance" / "importance.json").read_text())
    assert found["dataset"] == "shop"
    fields = {row["field"] for row in found["importance"] if row["key"] == "watch@all"}
    assert {"embedding", "query", "seen"} <= fields  # each as one
    assert any(row["part"].startswith("hour ") for row in found["gates"])


def test_a_sweep_stays_on_its_rows(arguments, tmp_path):
    given = [*arguments("shared_bottom", tmp_path), "--grid=data.options=schema=x"]
    with pytest.raises(UserError, match=r"cannot set data.options: trials would not"):
        sweep.main(given)
