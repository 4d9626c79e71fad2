"""Numbers of a log with an embedding: bins of train's quantiles, and from raw rows to scores."""

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.report.description.overview import kind

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
