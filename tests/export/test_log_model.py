"""A loaded model of your own log: raw rows become the very arrays that preparation wrote."""

import made_models
import numpy as np
import own_log
import polars as pl
import pytest

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export.score_files import Job

SCHEMA = """
name: shop
fields:
  user: {min_count: 2}
  item: {min_count: 2, unknown: ["3"]}
  hashed: {column: item, encoder: hash, size: 100, functions: 2}
  pair: {cross: [user, item], encoder: hash, size: 1000}
  hour: {value: hour(t)}
  cheap: {value: price < 1 and speed > 0}
  tags: {kind: bag, max_values: 4, weights: tag_weights}
  last: {column: tags, kind: bag, max_values: 2, keep: last, pooling: mean, table: tags}
  price: {kind: numeric}
  speed: {kind: numeric, encoder: standardise}
  log_price: {column: price, kind: numeric, encoder: standardise, log: true}
  embedding: {kind: vector, length: 3}
tasks:
  click:
  order: {upstream: [click], also_report: [click]}
group: user
time: t
"""


def log():
    """The log, some of its values missing."""
    frame, draw = own_log.log(2000), np.random.default_rng(3)
    weights = [draw.random(len(tags)).tolist() for tags in frame["tags"]]
    frame = frame.with_columns(tag_weights=pl.Series(weights, dtype=pl.List(pl.Float64)))
    for name in ("item", "speed", "embedding"):
        gone = pl.Series(draw.random(len(frame)) < 0.05)
        frame = frame.with_columns(pl.when(~gone).then(name).alias(name))
    gone = pl.Series(draw.random(len(frame)) < 0.05)
    return frame.with_columns(pl.when(~gone).then(pl.col("tags", "tag_weights")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The log's test rows, the prepared set, and the folder of a model of it."""
    folder, frame = tmp_path_factory.mktemp("log"), log()
    data = own_log.prepared(folder, frame, SCHEMA)
    model = made_models.log_model(data, folder / "model")
    return own_log.split_frames(frame)["test"], data, model


# ---------------------------------------------------------------- a time


TIME = "expected a date or time such as 2026-03-09T12:00:00Z"


@pytest.mark.parametrize("value", [1_772_000_000, 1.5, True])
def test_a_number_that_is_no_time(made, tmp_path, value):
    model, frame = export.load(made[2]), made[0].head(3)
    told = rf"column 't': {TIME}: {value}"
    rows = frame.to_dicts()
    with pytest.raises(UserError, match=f"row 1, {told}"):
        model.score([row | {"t": value} for row in rows])
    frame.with_columns(t=pl.lit(value)).write_parquet(tmp_path / "a.parquet")
    job = Job(model, [str(tmp_path / "a.parquet")], tmp_path / "s.csv", max_bad_rate=1.0)
    list(job.run())
    assert f"{TIME}: {tmp_path}/a.parquet, row 1, column 't': {value}" in job.account.summary()[0]
