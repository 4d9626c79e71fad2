"""A shop's first days, a later day with users and items of its own, and what vocabularies hold."""

import polars as pl
import pyarrow as pa
from shop_log import SCHEMA, rows, schema_file, write

from dtn_jax.datasets.logs import prepare as logs

LATER = SCHEMA.replace("name: shop", "name: later") + "split: {by: random, validation: 0.2}\n"


def first():
    return rows(1500)


def later(count=900, seed=1):
    """Users 25 to 64 and items from 5 on: some of the first days' are gone, and others are new."""
    frame = rows(count, seed)
    return frame.with_columns(pl.col("user") + 25, pl.col("item") + 5, pl.col("price") * 3)


def extended(folder, frame, extend, text=LATER, name="later", **options):
    """The set of a later log that extends another one, in its `data_dir`."""
    source = write(folder / f"raw_{name}", frame)
    schema = schema_file(folder, text, f"{name}.yaml")
    options = {"processes": 1} | options
    return logs.prepare(schema, source, folder / "data", extend=extend, **options)


def vocabulary(data, table):
    """{text: row} of a vocabulary, and {text: count}."""
    folder = data.folder / "vocabulary"
    found = pa.ipc.open_file(folder / f"{table}.arrow").read_all()
    shown = pa.ipc.open_file(folder / f"{table}.values.arrow").read_all()
    texts = shown["value"].to_pylist()
    return tuple(
        dict(zip(texts, column.to_pylist(), strict=True))
        for column in (found["row"], shown["count"])
    )
