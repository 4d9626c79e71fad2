"""A focal loss gives scores, not probabilities: a run, its card and its server say so, and a fitted
calibration makes probabilities of them."""

import numpy as np
import polars as pl
import pytest

from configs.logs import get_config
from dtn_jax.analysis.finished import read_config
from dtn_jax.config import base_config
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.export import load
from dtn_jax.export.serve import description, reading
from dtn_jax.export.write import export_run
from dtn_jax.losses import improper, read_losses
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.train import train

ROWS, ITEMS = 12_000, 10
CLICK = np.linspace(0.05, 0.2, ITEMS)  # p(click | item)
SCHEMA = """
name: raw
fields: {item: }
tasks: {click: , order: {upstream: [click], also_report: [click]}}
group: user
split: {by: random, validation: 0.25, test: 0.25}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, its log, and its test metrics."""
    folder, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(1)
    item = rng.integers(0, ITEMS, ROWS)
    click = rng.random(ROWS) < CLICK[item]
    order = click & (rng.random(ROWS) < 0.4)
    log = pl.DataFrame({"item": item, "click": click * 1, "order": order * 1, "user": item})
    (folder / "raw.yaml").write_text(SCHEMA)
    prepare(folder / "raw.yaml", log, folder / "data", processes=1)
    config = get_config(f"shared_bottom,schema={folder / 'raw.yaml'}")
    small = {
        "data.data_dir": str(folder / "data"),
        "data.batch_size": 512,
        "loss.tasks": "click=focal",
        "model.experts": "mlp",
        "model.embedding_dim": 4,
        "model.mlp.hidden": (8,),
        "model.tower_hidden": (),
        "optim.learning_rate": 0.02,
        "optim.table_learning_rate": 0.05,
        "train.epochs": 20,
        "parallel.devices": 1,
    }
    config.update_from_flattened_dict(small)
    return folder, log, train(config, folder / "run")["test"]


def exported(trained, out, way):
    """(the model, its card, what was printed)"""
    folder, _, _ = trained
    told = []
    model = load(export_run([folder / "run"], out / way, calibrate=way, say=told.append))
    return model, (out / way / "card.md").read_text(), "\n".join(told)


def test_a_calibrated_score_is_a_probability(trained, tmp_path):
    _, log, raw = trained
    rate = log["click"].mean()
    assert raw["click@all"]["mean_prediction"] > 1.5 * rate
    model, card, told = exported(trained, tmp_path, "auto")
    scores = model.score(log.select("item"))
    assert scores["click@all"].mean() == pytest.approx(rate, rel=0.1)
    said = "focal loss: raw scores are not probabilities; calibrated on validation"
    assert said in told
    assert said in card
    kind = "probability, calibrated on validation (focal loss)"
    assert f"| click | binary | {kind} |" in card
    assert "not a probability" not in card
    expected = {"click@all": kind, "order@all": "probability", "order@click": "probability"}
    assert description.describe(model, reading.read(model))["meanings"] == expected


def test_an_uncalibrated_score_is_said_to_be_one(trained, tmp_path):
    model, card, told = exported(trained, tmp_path, "none")
    said = "focal loss: raw scores are not probabilities; not calibrated, so the model gives scores"
    assert said in told
    assert said in card
    kind = "score, not a probability (focal loss of click)"
    assert f"| click | binary | {kind} |" in card
    assert f"click@all is a {kind}" in card
    assert f"order@click is a {kind}" in card  # the quotient of order and click
    assert model.meanings == {"click@all": kind, "order@all": "probability", "order@click": kind}


def test_a_run_notes_which_scores_are_no_probabilities():
    tasks = (
        Task("click"),
        Task("order", upstream=("click",), also_report=("click",)),
        Task("watch", "regression"),
    )
    schema = Schema("shop", (Field("item", rows=3),), tasks, group="user")
    config = get_config().loss

    def notes(**options):
        config.update(dict.fromkeys(("tasks", "pairwise"), "") | options)
        return list(improper.notes(read_losses(config, schema), schema))

    assert notes() == notes(pairwise="watch=1") == []
    assert notes(tasks="click=focal") == [
        "note: the focal loss of click gives scores, not probabilities: mean pred. and ECE show "
        "how far off they are, and export calibrates them on validation. For order, DTN's tsn, "
        "ESMM and AITM read them as probabilities. They are also part of order@click"
    ]
    (line,) = notes(pairwise="order=0.5")
    assert line.startswith("note: the pairwise term of order gives scores, not probabilities")
    config.focal.gamma = 0.0  # cross-entropy
    assert notes(tasks="click=focal") == []


def test_the_note_is_printed_once(trained, capsys, tmp_path):
    folder, _, _ = trained
    config = read_config(folder / "run", base_config())
    with config.unlocked():
        config.train.max_steps = 1
    train(config, tmp_path / "short")
    assert capsys.readouterr().out.count("gives scores, not probabilities") == 1
