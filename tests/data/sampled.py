"""Drafts of schema files from frames, as if those were whole logs."""

import numpy as np
import polars as pl

from dtn_jax.data.infer import infer
from dtn_jax.data.infer.sample import Sample
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.data.stages.account import Account

ROWS = 4000


def draw(seed=0):
    return np.random.default_rng(seed)


def sample(frame, format="parquet", whole=True):
    return Sample(frame, {}, whole, "all rows", Account(), InputSpec(format=format))


def draft(columns, labels=("buy",), time="", group="", **given):
    """Of columns {name: values}; `buy` is drawn where it is not given."""
    columns = {name: pl.Series(name, values, strict=False) for name, values in columns.items()}
    rows = len(next(iter(columns.values())))
    columns.setdefault("buy", pl.Series("buy", draw(9).integers(0, 2, rows)))
    columns.setdefault("code", pl.Series("code", draw(8).integers(0, 9, rows)))
    arrays = {name: c.arr.to_list() for name, c in columns.items() if c.dtype == pl.Array}
    found = sample(pl.DataFrame(columns | arrays), **given)
    return infer.draft(found, labels, time, group)


def field(columns, name, **given):
    """The field of a column."""
    return next(f for f in draft(columns, **given).fields if f.name == name)


def task(columns, name, labels=()):
    return next(t for t in draft(columns, labels).tasks if t.name == name)


def text(made, looked="all rows"):
    """The file, which has been read."""
    found = made.text("shop", looked)
    schema_file.loads(found)
    return found


def shown(made):
    """What the terminal shows."""
    return "\n".join(made.summary("all rows"))
