"""A log of grouped, weighted rows whose labels are expressions, its set, and its scores."""

import numpy as np
import polars as pl

from dtn_jax.cli import score
from dtn_jax.data.prepare import prepare

ROWS = 1500
SCHEMA = """
name: shop
fields:
  item:
  price: {kind: numeric}
tasks:
  click: {label: clicked}
  order: {label: order == 'yes', space: click, also_report: [all]}
  watch: {kind: regression, label: log1p(watch), known: clicked == 1}
group: user_id
weight: w
time: t
"""


def log():
    draw = np.random.default_rng(0)
    clicked = draw.random(ROWS) < 0.4
    return pl.DataFrame(
        {
            "request_id": np.arange(ROWS),
            "t": np.arange(ROWS),
            "user_id": [f"u{n}" for n in draw.integers(0, 60, ROWS)],
            "item": draw.integers(0, 20, ROWS),
            "price": draw.lognormal(size=ROWS),
            "w": draw.integers(1, 4, ROWS),
            "clicked": clicked.astype(int),
            "click": 1 - clicked,  # not the label, whatever its name
            "order": np.where(clicked & (draw.random(ROWS) < 0.5), "yes", "no"),
            "watch": draw.exponential(20, ROWS),
        }
    )


def prepared(folder, schema=SCHEMA, **columns):
    """The log's set; the schema file lies in `folder`, the set in `folder/data`."""
    folder.mkdir(exist_ok=True)
    (folder / "shop.yaml").write_text(schema)
    return prepare(folder / "shop.yaml", log().rename(columns), folder / "data", processes=1)


def scored(model, rows, output, *more):
    """The Parquet file that `score` writes of a table; what it writes of it is beside it."""
    given = output.with_name(f"{output.stem}_rows.parquet")
    rows.write_parquet(given)
    score.main([f"--model={model}", f"--input={given}", f"--output={output}", *more])
    return str(output)
