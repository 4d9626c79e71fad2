"""One small log with everything in it: its schema file, its rows, its files and its prepared set.

What a test needs besides is derived from these: `SCHEMA.replace(…)` or `without("clicked")` for
another schema file, `rows().with_columns(…)` for other rows.
"""

import datetime
import functools
import pathlib
import re

import numpy as np
import polars as pl

from dtn_jax.data import prepare as logs
from dtn_jax.data import vocabulary
from dtn_jax.data.epochs.reader import SplitReader

DAYS = 10
SCHEMA = """
name: shop
fields:
  user: {min_count: 2}
  item: {table: item, min_count: 2}
  seen: {kind: bag, table: item, min_count: 2, max_values: 3, weights: seen_weights}
  hour: {value: hour(t)}
  price: {kind: numeric, log: true, buckets: 8}
  speed: {kind: numeric, encoder: standardise}
  embedding: {kind: vector, length: 3}
  query: {encoder: hash, size: 50, functions: 2}
  user_x_hour: {cross: [user, hour], encoder: hash, size: 40}
  viewed: {kind: sequence, target: item, max_values: 4}
  action: {kind: sequence, beside: viewed, column: viewed_action}
  clicked: {history: {of: item, where: click == 1, last: 3}}
  ago: {kind: sequence, beside: clicked, gap: true}
tasks:
  click:
  order: {upstream: [click], also_report: [click]}
  watch: {kind: regression, label: log1p(seconds), known: click == 1}
group: user
time: t
weight: w
"""
SPLITS = ("train", "validation", "test")


def without(*names: str, text: str = SCHEMA) -> str:
    """The schema file without the lines of these fields, tasks or keys."""
    for name in names:
        text, count = re.subn(rf"(?m)^ *{name}:.*\n", "", text)
        assert count == 1, name
    return text


def rows(count: int = 1500, seed: int = 0) -> pl.DataFrame:
    """Rows over ten days, in order of time; clicks and orders depend on the item.

    Numbers that are missing, vectors that are missing, empty lists; the hour 0 and the item 0 are
    values as any other.
    """
    draw = np.random.default_rng(seed)
    quality = np.random.default_rng(9).normal(size=30) * 2
    item = draw.zipf(1.5, count) % 30
    click = draw.random(count) < 1 / (1 + np.exp(-quality[item]))
    seconds = np.sort(draw.integers(0, DAYS * 86_400, count)).tolist()
    start = datetime.datetime(2026, 3, 1)

    def lists(most, values):
        return [
            values[draw.integers(0, len(values), n)].tolist() for n in draw.integers(0, most, count)
        ]

    seen, viewed = lists(5, np.arange(30)), lists(8, np.arange(30))
    actions = np.array(["look", "cart", "buy"])
    vectors = draw.normal(size=(count, 3)).round(3).tolist()
    vectors[::7] = [None] * len(vectors[::7])
    return pl.DataFrame(
        {
            "t": [start + datetime.timedelta(seconds=s) for s in seconds],
            "user": draw.integers(0, 40, count),
            "item": item,
            "seen": pl.Series(seen, dtype=pl.List(pl.Int64)),
            "seen_weights": pl.Series(
                [[0.5 + n for n in range(len(row))] for row in seen], dtype=pl.List(pl.Float64)
            ),
            "price": np.exp(draw.normal(2, 1, count)).round(2),
            "speed": draw.normal(5, 2, count),
            "embedding": pl.Series(vectors, dtype=pl.List(pl.Float64)),
            "query": [f"q{n}" for n in draw.integers(0, 200, count)],
            "viewed": pl.Series(viewed, dtype=pl.List(pl.Int64)),
            "viewed_action": [actions[draw.integers(0, 3, len(row))].tolist() for row in viewed],
            "click": click.astype(int),
            "order": (click & (draw.random(count) < 0.4)).astype(int),
            "seconds": draw.exponential(20, count),
            "w": draw.integers(1, 4, count),
        }
    )


def write(folder: pathlib.Path, frame: pl.DataFrame, files: int = 3, group: int = 100) -> str:
    """Writes a log as Parquet files of so many rows a group; returns their glob."""
    folder.mkdir(parents=True, exist_ok=True)
    each = -(-len(frame) // files)
    for place in range(files):
        part = frame[place * each : (place + 1) * each]
        part.write_parquet(folder / f"part-{place:03d}.parquet", row_group_size=group)
    return str(folder / "*.parquet")


def schema_file(folder: pathlib.Path, text: str = SCHEMA, name: str = "shop.yaml") -> pathlib.Path:
    """Writes a schema file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def prepared(folder: pathlib.Path, frame: pl.DataFrame, text: str = SCHEMA, **options):
    """The prepared set of a log, in one process: from `folder/raw` and `folder/shop.yaml` into
    `folder/data`."""
    source = write(folder / "raw", frame)
    options = {"processes": 1} | options
    return logs.prepare(schema_file(folder, text), source, folder / "data", **options)


@functools.cache
def shared(root: str | pathlib.Path):
    """(rows, prepared set, folder) of the log as it is; once for a root, as `prepared_dir`."""
    folder, frame = pathlib.Path(root) / "world", rows()
    return frame, prepared(folder, frame), folder


def split_frames(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """{split: rows} of the cut that SCHEMA makes: the last day is test, before it validation."""
    day = pl.col("t").dt.day()
    masks = (day < DAYS - 1, day == DAYS - 1, day == DAYS)
    return {split: frame.filter(mask) for split, mask in zip(SPLITS, masks)}


def by_user_order(frame: pl.DataFrame, validation: float, test: float) -> np.ndarray:
    """The split of each row: of a user's rows, in order of time, the last ones are test, those
    before them validation, so many or such a share; one trains in any case."""
    found = np.full(len(frame), "train", object)
    for user in frame["user"].unique():
        own = np.flatnonzero(frame["user"] == user)
        own = own[np.argsort(frame["t"].to_numpy()[own], kind="stable")]
        count = len(own)
        last, before = (int(n) if n >= 1 else int(n * count + 1e-9) for n in (test, validation))
        last = min(last, count - 1)
        before = min(before, count - 1 - last)
        found[own[count - last :]] = "test"
        found[own[count - last - before : count - last]] = "validation"
    return found


def slots(data, field: str) -> slice:
    """Where a field's slots are among the ids."""
    names = [found.name for found in data.schema.slot_fields()]
    return slice(names.index(field), names.index(field) + names.count(field))


def names(data, field: str, ids) -> dict[int, str]:
    """{id: the value that has it}, the row's number in a table without a vocabulary."""
    (table,) = (found.table for found in data.schema.fields if found.name == field)
    known = vocabulary.names(data.folder / vocabulary.FOLDER, table, ids)
    return known or {i: f"row {i}" for i in ids if i > 0}


def values(data, split: str, field: str) -> list:
    """What a field with a vocabulary or buckets holds in each row of a split, as texts; None is
    unknown. Of a field with several slots the lists, without padding."""
    ids = np.asarray(SplitReader(data, split).everything().ids)[:, slots(data, field)]
    (kind,) = (found.kind for found in data.schema.fields if found.name == field)
    known = names(data, field, sorted(set(ids.ravel().tolist())))
    if kind in ("bag", "sequence"):
        return [[known.get(i) for i in row if i >= 0] for row in ids.tolist()]
    return [known.get(i) for i in ids[:, 0].tolist()]


def everything(folder: pathlib.Path) -> dict[str, bytes]:
    """{name: content} of all files below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
