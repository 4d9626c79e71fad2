"""Small raw files of every format, and all that is read of them."""

import datetime

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.datasets.logs.raw import files, read, units
from dtn_jax.datasets.logs.schema.spec import InputSpec

ROWS = 300
PLAIN = InputSpec()


def table(rows=ROWS):
    """Numbers, text, times and lists, with missing values; the same at each call."""
    draw = np.random.default_rng(0)
    missing = draw.random(rows) < 0.1
    words = ["", "a", "7", 'say "no"', "x,y", "ü → ∞", "tab\there"]
    start = datetime.datetime(2026, 1, 1)
    return pl.DataFrame(
        {
            "user": draw.integers(-(2**63), 2**63 - 1, rows),
            "price": pl.Series(draw.normal(size=rows)).set(pl.Series(missing), None),
            "word": pl.Series([words[n] for n in draw.integers(0, len(words), rows)]),
            "cart": draw.random(rows) < 0.5,
            "t": [start + datetime.timedelta(minutes=n) for n in range(rows)],
            "tags": [[int(v) for v in draw.integers(0, 9, n)] for n in draw.integers(0, 4, rows)],
            "nothing": [None] * rows,
        }
    )


def flat(frame):
    """The columns that text formats hold, times as text."""
    return frame.select("user", "price", "word", "cart", pl.col("t").cast(pl.String))


def write(path, frame=None, pieces=100):
    """A file in the format that its suffix says, in row groups or batches of `pieces` rows."""
    frame = table() if frame is None else frame
    if path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=pieces, use_pyarrow=True)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, frame.to_arrow().schema) as writer:
            writer.write_table(frame.to_arrow(), max_chunksize=pieces)
    elif path.suffix == ".csv":
        flat(frame).write_csv(path)
    else:
        flat(frame).with_columns(frame["tags"]).write_ndjson(path)
    return path


def plan(path, input=PLAIN, **sizes):
    """The one file at a path, and its units."""
    (file,) = files.find([str(path)], input.format)
    return file, units.plan([file], input, **sizes)


def chunks(path, columns=None, input=PLAIN, chunk_rows=read.ROWS, **sizes):
    """All chunks of a file, in its order; of all its columns where none are named."""
    file, pieces = plan(path, input, **sizes)
    columns = list(read.schema(file, input)) if columns is None else columns
    return [c for unit in pieces for c in read.chunks(file, unit, columns, input, chunk_rows)]


def whole(path, columns=None, input=PLAIN, **sizes):
    """(frame, row numbers, rejects) of a whole file."""
    found = chunks(path, columns, input, **sizes)
    frame = pl.concat([chunk.frame for chunk in found])
    numbers = np.concatenate([chunk.numbers for chunk in found])
    return frame, numbers.tolist(), [reject for chunk in found for reject in chunk.broken]
