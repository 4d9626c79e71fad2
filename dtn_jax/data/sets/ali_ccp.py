"""Ali-CCP (Alibaba Click and Conversion Prediction): impressions of a shop, click → conversion.

Reads, from `<manual_dir>/ali_ccp`, the published `sample_skeleton_{train,test}.csv` and
`common_features_{train,test}.csv`; each plain or `.gz`.

ali_ccp.sql has the forms of their lines. Others are counted and skipped; so are, but not skipped,
impressions without a line of common features.

Six fields hold several values and are bags; their first `max_values` values are kept, an
impression's own before those of its common features. Three more, crosses of a user's behaviours
with the item, hold one value whose weight says how much of that behaviour there was: bags of one.
The other fields hold one value: the first is kept, and weights are not used. A missing field of one
value is the unknown id 0, which has a row like any other; a missing bag is the zero vector, where
the released run trains one row for missing and unknown values alike.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import ClassVar

import duckdb
import numpy as np
import polars as pl

from dtn_jax.data.blocks import Layout
from dtn_jax.data.sets import raw_tables
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.errors import UserError
from dtn_jax.options import Option
from dtn_jax.shapes import Bool, Int
from dtn_jax.tables.hashing import scramble

PARTS = ("train", "test")
VALIDATION = 0.1  # of the train file's lines, by a hash of their sample_id
VALIDATION_SEED = 2018
SLICE = 4_000_000  # values of a bag that are joined at a time
SKELETON, COMMON = "sample_skeleton_{}.csv", "common_features_{}.csv"
# In the order of the released reader.
# fmt: off
FIELDS = (
    "101", "109_14", "110_14", "127_14", "150_14", "121", "122", "124", "125", "126", "127", "128",
    "129", "205", "206", "207", "210", "216", "508", "509", "702", "853", "301",
)
# fmt: on
BAGS = ("109_14", "110_14", "127_14", "150_14", "210", "853")
CROSSES = ("508", "509", "702")
MANY = (*BAGS, *CROSSES)
MARK = "ï»¿"  # that some editors begin a file with, as latin-1 has it
MOST = 0.2  # of a file's lines that may be skipped, or lack their common features
BROKEN, ALONE = "are not as published: skipped", "have no line of common features"
ODD = {"drop": "left out", "keep": "kept", "click": "counted as clicks"}
LINES = {  # of a text line by line: no quote or odd byte swallows those that follow
    "columns": {"text": "VARCHAR"},
    "delim": "\x1c\x1d\x1e\x1f",
    "quote": "",
    "escape": "",
    "encoding": "latin-1",  # all that is of use is ASCII
    "header": False,
}
# SQL of whether a line is good, and of what it has beside its fields.
FORMS = {
    SKELETON: (
        "good_skeleton(v)",
        "v[1]::BIGINT AS sample_id, v[2] = '1' AS click, v[3] = '1' AS conversion, v[4] AS index",
    ),
    COMMON: ("good_common(v)", "v[1] AS index"),
}


class AliCCP(DataSet):
    """Ali-CCP: 23 fields of users, items and their history; click → conversion.

    The group of a row, for GAUC, is its user.
    """

    name = "ali_ccp"
    schema = pathlib.Path(__file__).with_suffix(".yaml")
    weight = ""
    layout = Layout(lanes=32, block_rows=128)
    OPTIONS: ClassVar[dict[str, Option]] = {
        "min_count": Option(2, "times that train must show a value of a vocabulary", least=1),
        "max_values": Option(20, "values of a bag that are kept, the first ones", least=1),
        "pooling": Option(
            "sum",
            "of bags: by their weights (sum, mean) or without them (max; unweighted, the released "
            "run's sum)",
            choices=("sum", "mean", "max", "unweighted"),
        ),
        "conversion_without_click": Option(
            "drop",
            "rows with one but not the other: drop them, as the released reader does, keep them as "
            "they are, or count them as clicks",
            choices=("drop", "keep", "click"),
        ),
    }

    def schema_text(self) -> str:
        text = super().schema_text().replace("pooling: unweighted", "pooling: sum")
        weighted = self.options.pooling in ("sum", "mean")
        return text if weighted else re.sub(", weights: [^}]*", "", text)

    def raw_names(self) -> tuple[str, ...]:
        """The published files."""
        return self.names_there([form.format(part) for part in PARTS for form in FORMS])

    def raw(self, files):
        """The impressions, train's and then test's in the order of their files, with their common
        features, some at a time."""
        paths = {name.removesuffix(".gz"): path for name, path in files.items()}
        with raw_tables.opened(self.home / "join") as database:
            database.execute(pathlib.Path(__file__).with_suffix(".sql").read_text())
            step, account = max(SLICE // self.options.max_values, 1), []
            for part in PARTS:
                account += self._join(database, part, paths)
                count = len(database.table("impressions"))
                for first in range(0, count, step):
                    some = f"line >= {first} AND line < {first + step}"
                    frame = database.sql(f"SELECT * FROM joined WHERE {some} ORDER BY line").pl()
                    split = pl.lit("test")
                    if part == "train":
                        held = pl.Series(held_out(frame["sample_id"].to_numpy()))
                        split = pl.when(held).then(pl.lit("validation")).otherwise(pl.lit("train"))
                    yield frame.drop("line", "sample_id").with_columns(split=split)
            self.notes = {"account": account}

    def _join(
        self, database: duckdb.DuckDBPyConnection, part: str, paths: Mapping[str, pathlib.Path]
    ) -> list[str]:
        """Makes a view `joined` of the impressions of a part; returns lines on what is skipped."""
        skeleton, common = (paths[form.format(part)] for form in FORMS)
        read(database, "common", COMMON, common, self.options.max_values)
        read(database, "impressions", SKELETON, skeleton, self.options.max_values)
        account = counted(database, "common", common, "NOT good", BROKEN)
        firsts = "SELECT min(rowid) FROM common WHERE good GROUP BY index"
        database.execute(f"DELETE FROM common WHERE rowid NOT IN ({firsts})")
        odd = f"are conversions without a click: {ODD[self.options.conversion_without_click]}"
        for where, what, most in (
            ("NOT good", BROKEN, MOST),
            ("good AND index NOT IN (SELECT index FROM common)", ALONE, MOST),
            ("conversion AND NOT click", odd, 1),
        ):
            account += counted(database, "impressions", skeleton, where, what, most)
        database.execute(f"CREATE OR REPLACE VIEW joined AS {self.joined()}")
        return account

    def joined(self) -> str:
        """SQL of the impressions that are kept, with their common features."""
        done, most = self.options.conversion_without_click, self.options.max_values
        click = "click OR conversion" if done == "click" else "click"
        kept = "good AND (click OR NOT conversion)" if done == "drop" else "good"
        columns = [
            f"line, sample_id, {click} AS click, conversion",
            'coalesce(i."101", c."101", -1 - sample_id) AS "user"',  # who is nobody is alone
        ]
        for field in FIELDS:
            if field not in MANY:
                columns.append(f'coalesce(i."{field}", c."{field}") AS "{field}"')
                continue
            pairs = f'list_concat(i."{field}", c."{field}")[:{most if field in BAGS else 1}]'
            columns.append(f'list_transform({pairs}, lambda x: x.id) AS "{field}"')
            columns.append(f'list_transform({pairs}, lambda x: x.weight) AS "{field}_weights"')
        rows = f"SELECT rowid AS line, * FROM impressions WHERE {kept}"
        return f"SELECT {', '.join(columns)} FROM ({rows}) i LEFT JOIN common c USING (index)"


def read(
    database: duckdb.DuckDBPyConnection, table: str, form: str, path: pathlib.Path, most: int
) -> None:
    """Makes a table of a file's lines: whether each is `good`, what its form has, and the fields:
    of most an id, of MANY a list of `{id, weight}`; at most `most` of a bag."""
    good, head = FORMS[form]
    columns = [f"one(features, '{f}') AS \"{f}\"" for f in FIELDS if f not in MANY]
    for field in MANY:
        kept = most if field in BAGS else 1
        columns.append(f"many(features, '{field}', {kept}) AS \"{field}\"")
    raw_tables.read(
        database,
        table,
        path,
        f"""
        SELECT good, {head}, {", ".join(columns)}
        FROM (SELECT good, v, chr(1) || v[-1] AS features FROM (
            SELECT good, if(good, v, NULL) AS v FROM (SELECT v, {good} AS good FROM (
                SELECT string_split(ltrim(coalesce(text, ''), '{MARK}'), ',') AS v FROM FILE))))
        """,
        **LINES,
    )


def counted(
    database: duckdb.DuckDBPyConnection,
    table: str,
    path: pathlib.Path,
    where: str,
    what: str,
    most: float = MOST,
) -> list[str]:
    """A line on the lines of a file that are so, or none.

    Raises:
      UserError: they are more than a share of `most`.
    """
    query = f"SELECT count(*) FILTER ({where}), min(rowid) FILTER ({where}), count(*) FROM {table}"
    count, first, lines = database.execute(query).fetchall()[0]
    if not count:
        return []
    line = f"{count:,} of {lines:,} lines {what}; the first is line {first + 1}"
    if count > most * lines:
        raise UserError(f"{path}: {line}. At most {most:.0%} may be so")
    return [f"{path.name.removesuffix('.gz')}: {line}"]


def held_out(ids: Int[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
    """A mask of the train file's lines that belong to validation, by sample_id.

    The reader that was released with DTN skips lines: what it writes has the same ids, but not
    their numbers.
    """
    low, high = (part.astype(np.uint32) for part in (ids & 0xFFFFFFFF, ids >> 32))
    hashed = scramble(low ^ scramble(high) ^ np.uint32(VALIDATION_SEED))
    return hashed < np.uint32(VALIDATION * 2**32)
