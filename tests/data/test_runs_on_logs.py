"""Own logs in every command: train, replicas, sweep, importance, with a plug-in, on processes."""

import json
import pathlib

import pytest
from world import log

from dtn_jax.cli import feature_importance, launch, sweep, train
from dtn_jax.config import load_config
from dtn_jax.errors import UserError
from dtn_jax.run import build_run
from dtn_jax.train import train as train_run

PLUGIN = pathlib.Path(__file__).parents[1] / "plugin.py"
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
    """(architecture, the workdir, more of the config's argument) -> those of a command."""

    def of(architecture, workdir, more="parallel.devices=1"):
        schema, data = (shop[1] / name for name in ("shop.yaml", "data"))
        argument = f"{architecture},schema={schema},{SMALL},{more}"
        config = f"--config=configs/logs.py:{argument}"
        return [config, f"--workdir={workdir}", f"--config.data.data_dir={data}"]

    return of


@pytest.fixture(scope="module")
def trained(arguments, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "dtn"
    train.main(arguments("dtn", workdir))
    return workdir


@pytest.mark.slow
def test_a_run_stops_early_and_says_so(shop, tmp_path, capsys):
    """The learning rate is so high that the first epochs are the best."""
    config = load_config(f"configs/logs.py:shared_bottom,schema={shop[1] / 'shop.yaml'},{SMALL}")
    config.data.data_dir, config.parallel.devices = str(shop[1] / "data"), 1
    config.train.max_steps, config.optim.learning_rate = 0, 0.1
    results = train_run(config, tmp_path / "run")
    shown = capsys.readouterr().out
    assert shown.startswith("Unknown ids in validation (missing, or not in train often enough): ")
    per_epoch = build_run(config).steps_per_epoch
    best = results["best_steps"]["mean"]
    assert results["steps"] == best + 2 * per_epoch < 20 * per_epoch
    assert f"Stopped early, at step {results['steps']} of {20 * per_epoch}: no gain " in shown
    assert f"at step {best} of {results['steps']}, the best by" in shown.replace("\n", " ")


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


@pytest.mark.parametrize(
    ("segment", "shown"),
    [
        ("hour", "rarer values"),
        pytest.param("", "rows", marks=pytest.mark.slow),
        pytest.param("price", " to ", marks=pytest.mark.slow),
    ],
)
def test_importance(trained, monkeypatch, segment, shown):
    monkeypatch.setattr("dtn_jax.analysis.segments.FEWEST", 1)
    given = ["--methods=permutation", "--repeats=1", f"--segment={segment}"]
    feature_importance.main([f"--workdir={trained}", *given])
    found = json.loads((trained / "importance" / "importance.json").read_text())
    assert found["dataset"] == "shop"
    fields = found["methods"]["permutation"]["importance"]["watch@all"]
    assert {"embedding", "query", "seen"} <= set(fields)  # each as one
    assert any(shown in name for name in found["gates"]["segments"])


@pytest.mark.slow
def test_replicas_and_a_plug_in(arguments, tmp_path, unload):
    train.main([*arguments("heads", tmp_path), f"--config.plugins={PLUGIN}", "--config.replicas=2"])
    for replica in range(2):
        results = json.loads((tmp_path / f"replica_{replica}" / "results.json").read_text())
        assert (results["dataset"], results["architecture"]) == ("shop", "heads")


@pytest.mark.slow
def test_a_sweep(arguments, tmp_path):
    space = ["--grid=model.dropout=0,0.1", "--objective=order"]
    sweep.main([*arguments("shared_bottom", tmp_path), *space])
    report = json.loads((tmp_path / "sweep.json").read_text())
    assert report["studies"]["shared_bottom"]["budget"]["complete"] == 2
    with pytest.raises(UserError, match=r"cannot set data.options=schema=x: .* rows"):
        sweep.main([*arguments("shared_bottom", tmp_path), "--grid=data.options=schema=x"])


@pytest.mark.nightly
def test_two_processes(arguments, tmp_path):
    given = arguments("dtn", tmp_path, "parallel.devices=0")
    assert launch.run_until_done(given, 2, restarts=0) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["dataset"], results["steps"]) == ("shop", 2)
