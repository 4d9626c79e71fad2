"""A log of one's own with everything in it, its schema file, and samples that are given."""

import datetime
import functools

import numpy as np
import polars as pl
from batches import batch_of
from world.log import prepared

from dtn_jax.schema import Field, Schema, Task

ROWS = 12_000
DAYS = 10
SCHEMA = """
name: shop
fields:
  user: {min_count: 2}
  item: {min_count: 2}
  hour: {value: hour(t)}
  tags: {kind: bag, max_values: 4}
  price: {kind: numeric}
  speed: {kind: numeric, encoder: standardise}
  embedding: {kind: vector, length: 3}
tasks:
  click:
  order: {upstream: [click], also_report: [click]}
  watch: {kind: regression, known: click == 1}
group: user
time: t
"""


def log(rows=ROWS, seed=0):
    """Ten days of rows; the labels depend on the item alone."""
    draw = np.random.default_rng(seed)
    start = datetime.datetime(2026, 3, 1)
    item = np.minimum(draw.zipf(1.3, rows), 500)
    quality = np.random.default_rng(9).normal(size=501)
    click = draw.random(rows) < 1 / (1 + np.exp(1 - quality[item]))
    order = click & (draw.random(rows) < 0.4)
    tags = [[f"t{v}" for v in draw.integers(0, 9, n)] for n in draw.integers(0, 6, rows)]
    missing = draw.random(rows) < 0.1
    return pl.DataFrame(
        {
            "user": np.minimum(draw.zipf(1.4, rows), 3000),
            "item": item,
            "t": [
                start + datetime.timedelta(seconds=n * DAYS * 86400 // rows) for n in range(rows)
            ],
            "tags": tags,
            "price": pl.Series(draw.lognormal(size=rows)).set(pl.Series(missing), None),
            "speed": draw.normal(size=rows),
            "embedding": draw.normal(size=(rows, 3)).tolist(),
            "click": click.astype(int),
            "order": order.astype(int),
            "watch": draw.exponential(20, rows),
        }
    )


@functools.cache
def shop(folder):
    """The log, and the set that it was prepared to; once for a folder."""
    frame = log()
    return frame, prepared(folder, frame, SCHEMA)


def one_field(ids, labels, weights=None, rows=1000, **changes):
    """(rows, schema) of a field `f` of these ids and a task `click`."""
    ids = np.asarray(ids, np.int32).reshape(len(ids), -1)
    kind = {"kind": "bag", "slots": ids.shape[1]} if ids.shape[1] > 1 else {}
    weight = "" if weights is None else "w"
    schema = Schema("one", (Field("f", rows=rows, **kind),), (Task("click"),), weight)
    given = {} if weights is None else {"sample_weight": weights}
    return batch_of(ids, np.asarray(labels, np.float32)[:, None], **given | changes), schema
