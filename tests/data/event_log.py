"""A log of events at equal times in no order, and what its histories list, straight from their
meaning."""

import numpy as np
import polars as pl

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import vocabulary_file
from dtn_jax.datasets.logs.write.finish_set import VOCABULARY
from dtn_jax.input.reader import SplitReader

ROWS, USERS = 1200, 15
SCHEMA = """
name: shop
fields:
  item: {unknown: [none]}
  place: {encoder: hash, size: 5000}
  seen: {history: {of: item, where: "click == 1", last: 4}}
  shown: {kind: sequence, history: {of: item, by: user}}
tasks: [click, order]
group: user
time: t
split: {by: column, column: part}
"""


def log(rows=ROWS, seed=0):
    """Rows of few users, many of them at equal times, in no order; `place` tells each row."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "t": rng.integers(1_772_000_000, 1_772_000_090, rows),
            "user": [f"u{u}" for u in rng.integers(0, USERS, rows)],
            "item": [f"i{n}" if n else "none" for n in rng.integers(0, 30, rows)],
            "place": np.arange(rows),
            "click": rng.integers(0, 2, rows),
            "order": rng.integers(0, 2, rows),
            "part": rng.choice(["train", "train", "validation", "test"], rows),
        }
    )


def expected(frame, row, last, clicked):
    """The items that a row's history lists, straight from what it means."""
    own = frame.row(row, named=True)
    past = frame.filter(pl.col("user") == own["user"], pl.col("t") < own["t"])
    past = past.filter(pl.col("item") != "none").sort("t", maintain_order=True)
    return past.filter(pl.col("click") == 1 if clicked else True)["item"].to_list()[-last:]


def found(data, field):
    """{place of a row in the log: the rows of its history}, of all splits."""
    names = list(data.schema.field_names)
    slots = [f.slots for f in data.schema.fields]
    first = sum(slots[: names.index(field)])
    parts = [np.asarray(SplitReader(data, s).everything().ids) for s in data.rows]
    ids = np.concatenate(parts)
    hashed = 1 + keys.hashed_rows(keys.keys(pl.Series(range(ROWS)))[0], 5000, 0)
    place = {int(row): n for n, row in enumerate(hashed)}
    assert len(place) > 0.85 * ROWS  # two rows of the log may share one of the table
    own = ids[:, first : first + slots[names.index(field)]]
    alone = [n for n in range(ROWS) if (hashed == hashed[n]).sum() == 1]
    at = {place[int(row)]: n for n, row in enumerate(ids[:, 1])}
    return {n: [int(i) for i in own[at[n]] if i >= 0] for n in alone if n in at}


def rows_of_items(data):
    table = vocabulary_file.load(vocabulary_file.path_of(data.folder / VOCABULARY, "item"))
    names = [f"i{n}" for n in range(30)]
    return dict(zip(names, table.look_up(keys.keys(pl.Series(names))[0]).tolist()))
