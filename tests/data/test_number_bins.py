"""Numbers of a log with an embedding: bins of train's quantiles, and from raw rows to scores."""

import json

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax import export
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.report.description.overview import kind
from experiments import export as export_command
from experiments import train

PLAIN = "  speed: {kind: numeric, encoder: standardise}"
NUMBERS = """\
  speed: {kind: numeric, encoder: standardise, embedding: piecewise_linear, bins: 4}
  rest: {column: speed, kind: numeric, encoder: standardise, bins: 6}
  cost: {column: price, kind: numeric, log: true, encoder: standardise, embedding: periodic}
  price2: {column: price, kind: numeric, encoder: standardise, embedding: piecewise_linear}
  far: {column: price, kind: numeric, log: true, encoder: standardise, embedding: autodis}"""
SCHEMA = log.without("viewed", "action", "clicked", "ago").replace(PLAIN, NUMBERS)


def frame():
    found = log.rows(1500)
    gone = pl.Series(np.random.default_rng(1).random(len(found)) < 0.1)
    return found.with_columns(speed=pl.when(~gone).then("speed"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    return log.prepared(folder, frame(), SCHEMA), folder


def test_bins_are_quantiles_of_the_train_rows(shop):
    data, _ = shop
    fields = {f.name: f for f in data.schema.fields}
    embeddings = {name: f.embedding for name, f in fields.items() if f.standardised}
    assert embeddings == {
        "speed": "piecewise_linear", "rest": "scaled", "cost": "periodic",
        "price2": "piecewise_linear", "far": "autodis",
    }  # fmt: skip
    assert kind(fields["cost"]) == "numeric, periodic"
    train = SplitReader(data, "train").everything()
    names = [f.name for f in data.schema.slot_fields()]
    for place, name, bins in ((0, "speed", 4), (1, "rest", 6), (3, "price2", 48)):
        known = train.ids[:, names.index(name)] == 1
        assert known.all() == (name == "price2")
        values = train.numeric[known, place]
        expected = np.quantile(values, np.arange(bins + 1) / bins, method="inverted_cdf")
        np.testing.assert_allclose(fields[name].edges, np.unique(expected), rtol=1e-5, atol=1e-6)
    assert fields["cost"].edges == fields["far"].edges == ()


@pytest.mark.nightly
def test_from_a_log_to_a_served_model(shop, tmp_path, monkeypatch):
    """Raw rows get the scores that the run has; and a config may choose other embeddings."""
    data, folder = shop
    small = (
        "model.experts=mlp,model.mlp.hidden=4,model.expert_dim=4,model.tower_hidden=4,"
        "model.embedding_dim=4,train.max_steps=30,data.batch_size=64,parallel.devices=1,"
        "optim.table_init=0.5,model.periodic.sigma=0.3,optim.learning_rate=0.01"
    )
    config = f"--config=configs/logs.py:shared_bottom,schema={folder / 'shop.yaml'},{small}"
    given = [config, f"--config.data.data_dir={folder / 'data'}"]
    train.main([*given, f"--workdir={tmp_path / 'run'}"])
    out = [f"--out={tmp_path / 'model'}", "--calibration=none"]
    export_command.main([f"--workdir={tmp_path / 'run'}", *out])
    model = export.load(tmp_path / "model")
    rows = frame().filter(pl.col("t").dt.day() == 10)
    scores = model.score(rows.drop("click", "order", "seconds"))
    found = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert len(found) == len(rows)
    np.testing.assert_allclose(scores["click@all"], found["score/click"], rtol=1e-5)
    assert scores["click@all"].std() > 1e-3
    other = "--config.model.numbers=rest=piecewise_linear,speed=autodis"
    train.main([*given, other, f"--workdir={tmp_path / 'other'}"])
    sizes = [
        json.loads((tmp_path / name / "results.json").read_text())["parameters"]
        for name in ("run", "other")
    ]
    linear, periodic, autodis = (lambda bins: 4 * bins), 48 + 97 * 4, 20 + 400 + 80
    prices = len(next(f for f in data.schema.fields if f.name == "price2").edges) - 1
    own = linear(4) + periodic + linear(prices) + autodis
    assert sizes[0] - sizes[1] == own - (linear(6) + autodis)
