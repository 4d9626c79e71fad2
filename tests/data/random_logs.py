"""Logs of random columns: awkward names, every type, missing and odd values."""

import datetime
import string

import numpy as np
import polars as pl

ROWS = 600
START = datetime.datetime(2026, 3, 1)
NAMES = [
    *("no", "on", "null", "true", "~", "y", "all", "mean", "name", "and", "hour", "weekday"),
    *("a b", "a-b", "a.b", "a:b", "a: b", "a #b", "'a'", '"a"', "a`b", "{a}", "[a]", "a,b", "&a"),
    *("*a", "!a", "%a", "@a", "a/b", "a=b", "a+b", "?", "-", "- a", " a", "a ", "日本語", "größe"),
    *("🙂", "1", "007", "1e5", "12:30", "2026-03-05", "a\tb", "a\\b", "a\nb", "é", "<<", "|", ">"),
    *("user_id", "item_id", "price", "t", "ts", "is_new", "click", "order", "rating", "cart"),
    *("request_id", "age", "count", "x" * 100, "userId", "created_at", "day", "split", "weight"),
    *("watch_seconds", "label", "session", "group", "column", "value", "kind", "fields", "\u2028"),
]


def texts(draw, rows, distinct):
    letters = list(string.ascii_letters + " '\"#:{}[],&*!|>%@`\\/-_?~é日🙂\t\u2028")
    made = ["".join(draw.choice(letters, draw.integers(0, 12))) for _ in range(distinct)]
    return [made[n] for n in draw.integers(0, distinct, rows)]


def one(draw, rows):
    """A column of any type."""
    far = 2**63 - 1
    makers = {
        "int": lambda: draw.integers(-5, draw.choice([2, 50, 10**6]), rows),
        "wide": lambda: draw.integers(-far, far, rows),
        "unsigned": lambda: pl.Series(draw.integers(0, 2**64 - 1, rows, np.uint64)),
        "binary": lambda: draw.integers(0, 2, rows),
        "truth": lambda: draw.random(rows) < draw.random(),
        "float": lambda: draw.normal(size=rows) * 10.0 ** draw.integers(-20, 20),
        "skewed": lambda: np.exp(draw.normal(size=rows) * 3),
        "whole": lambda: draw.integers(0, 100, rows).astype(float),
        "odd": lambda: draw.choice([0.5, np.nan, np.inf, -np.inf, 1e308], rows),
        "nan": lambda: np.where(draw.random(rows) < 0.3, np.nan, draw.normal(size=rows)),
        "text": lambda: texts(draw, rows, int(draw.choice([1, 2, 30, rows]))),
        "number text": lambda: [str(n) for n in draw.integers(0, 99, rows)],
        "truth text": lambda: draw.choice(["true", "False", "TRUE"], rows).tolist(),
        "split text": lambda: draw.choice(["train", "val", "test"], rows).tolist(),
        "iso text": lambda: [str(START + datetime.timedelta(hours=n)) for n in range(rows)],
        "empty": lambda: [""] * rows,
        "null": lambda: pl.Series([None] * rows),
        "constant": lambda: [7] * rows,
        "unique": lambda: [f"r{n}" for n in range(rows)],
        "epoch": lambda: 1_772_000_000 + np.sort(draw.integers(0, 10**6, rows)),
        "millis": lambda: 1000 * (1_772_000_000 + draw.integers(0, 10**6, rows)),
        "yyyymmdd": lambda: draw.integers(20260301, 20260310, rows),
        "datetime": lambda: [START + datetime.timedelta(minutes=n) for n in range(rows)],
        "date": lambda: [START.date() + datetime.timedelta(days=n % 9) for n in range(rows)],
        "one date": lambda: [START.date()] * rows,
        "time": lambda: [datetime.time(n % 24, 5) for n in range(rows)],
        "duration": lambda: [datetime.timedelta(seconds=n) for n in range(rows)],
        "bytes": lambda: [bytes([n % 256]) for n in range(rows)],
        "decimal": lambda: pl.Series(draw.integers(0, 999, rows)).cast(pl.Decimal(10, 2)),
        "words": lambda: pl.Series(draw.choice(list("abc"), rows)).cast(pl.Categorical),
        "struct": lambda: [{"a": n} for n in range(rows)],
        "ids": lambda: [draw.integers(0, 40, n) for n in draw.integers(0, 90, rows)],
        "id texts": lambda: [texts(draw, n, 3) for n in draw.integers(0, 4, rows)],
        "vector": lambda: list(draw.normal(size=(rows, 4))),
        "odd vector": lambda: [[1.5, None] if n % 9 else [np.inf, 0.1] for n in range(rows)],
        "floats": lambda: [draw.normal(size=n) for n in draw.integers(0, 4, rows)],
        "empty lists": lambda: pl.Series([[]] * rows, dtype=pl.List(pl.Int64)),
        "nested": lambda: [[[1, 2], [3]]] * rows,
        "list of truths": lambda: [[True, False]] * rows,
        "list of dates": lambda: [[START.date()]] * rows,
    }
    kind = draw.choice(list(makers))
    made = pl.Series(makers[kind](), strict=False)
    if draw.random() < 0.3 and made.dtype != pl.Null:
        gone = pl.Series(draw.random(rows) < draw.choice([0.002, 0.5]))
        made = pl.select(pl.when(~gone).then(made)).to_series()
    return made


def frame(seed, rows=ROWS):
    """A log with a label, and columns of any names and types."""
    draw = np.random.default_rng(seed)
    names = draw.permutation(NAMES)[: draw.integers(2, 14)].tolist()
    columns = {name: one(draw, rows).alias(name) for name in names}
    columns["buy"] = pl.Series("buy", draw.integers(0, 2, rows))
    columns["code"] = pl.Series("code", draw.integers(0, 9, rows))
    return pl.DataFrame(columns)


def flat(made):
    """The columns that a CSV file holds."""
    kept = [c for c in made if not c.dtype.is_nested() and c.dtype not in (pl.Binary, pl.Duration)]
    kept = [c for c in kept if "\n" not in c.name]
    return pl.DataFrame(kept)
