"""Ali-CCP (Alibaba Click and Conversion Prediction): impressions of a shop, click → conversion.

Reads, from `<manual_dir>/ali_ccp`, the published `sample_skeleton_{train,test}.csv` and
`common_features_{train,test}.csv`; each plain or `.gz`.

ali_ccp.sql has the forms of their lines, and what may be wrong with one. Such lines are counted by
reason; whatever can be used of them is used.

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
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

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
SHOWN = 60  # characters of a damaged line
MARK = "ï»¿"  # that some editors begin a file with, as latin-1 has it
UNKNOWN = "a field that is not one of the 23"
IN_PART = (  # what leaves a skeleton's line in
    *(UNKNOWN, "no common_index"),
    "its common_index has no line of common features",
)
ODD = {"drop": "left out", "keep": "kept", "click": "counted as clicks"}
SAMPLE = "v[1]::BIGINT AS sample_id, v[2] = '1' AS click, v[3] = '1' AS conversion"
FORMS = {  # SQL of what is wrong with a line, and of what it has beside its fields
    SKELETON: ("wrong_skeleton(v)", f"{SAMPLE}, v[4] AS index"),
    COMMON: ("wrong_common(v)", "v[1] AS index"),
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
        "damaged": Option(
            20,
            "percentage of a file's lines that may be left out, or lack their common features",
            least=0,
            most=100,
        ),
    }

    def schema_text(self) -> str:
        text = super().schema_text().replace("pooling: unweighted", "pooling: sum")
        weighted = self.own.pooling in ("sum", "mean")
        return text if weighted else re.sub(", weights: [^}]*", "", text)

    def raw_names(self) -> tuple[str, ...]:
        """The published files."""
        return self.names_there([form.format(part) for part in PARTS for form in FORMS])

    def raw(self, files):
        """The impressions, train's and then test's in the order of their files, with their common
        features, some at a time."""
        paths = {name.removesuffix(".gz"): path for name, path in files.items()}
        with raw_tables.opened(self.home / "join") as database:
            database.execute("SET VARIABLE fields = ?", [FIELDS])
            database.execute(pathlib.Path(__file__).with_suffix(".sql").read_text())
            database.create_function(
                "held_out",
                lambda ids: pa.array(held_out(ids.to_numpy())),
                ["BIGINT"],
                "BOOLEAN",
                type="arrow",
            )
            damage: list[Damage] = []
            counted: list[tuple] = []
            cut = (f"sum(cut[{n}]) FILTER ({self.kept})" for n in range(1, len(BAGS) + 1))
            sums = f"SELECT split, count(*) FILTER (odd), {', '.join(cut)} FROM joined"
            step = max(SLICE // self.own.max_values, 1)
            for part in PARTS:
                damage += self._join(database, part, paths)
                counted += database.execute(f"{sums} GROUP BY split ORDER BY split").fetchall()
                count = len(database.table("impressions"))
                for first in range(0, count, step):
                    some = f"line >= {first} AND line < {first + step} AND {self.kept}"
                    rows = f"SELECT * EXCLUDE (line, odd, cut) FROM joined WHERE {some}"
                    yield database.sql(f"{rows} ORDER BY line").pl()
            self.notes = {"account": [*map(str, damage), *self._counted(counted)]}

    def _join(
        self, database: duckdb.DuckDBPyConnection, part: str, paths: Mapping[str, pathlib.Path]
    ) -> list[Damage]:
        """Makes a view `joined` of the impressions of a part; returns what is wrong with lines."""
        most, percent = self.own.max_values, self.own.damaged
        skeleton, common = (paths[form.format(part)] for form in FORMS)
        lines = read(database, "common", COMMON, common, most)
        count = read(database, "impressions", SKELETON, skeleton, most)
        damage = damage_of(database, "common", common, lines, percent)
        unused = "index IS NULL OR rowid IN (SELECT line FROM twice())"
        database.execute(f"DELETE FROM common WHERE {unused}")
        database.execute(f"CREATE OR REPLACE VIEW joined AS {self.joined(part)}")
        return damage + damage_of(database, "impressions", skeleton, count, percent)

    def _counted(self, counted: list[tuple]) -> Iterator[str]:
        """Lines on conversions without a click, and on values that are left out; of (split, how
        many of the former, how many of the latter of each bag)."""
        if odd := [f"{rows:,} of {split}" for split, rows, *_ in counted if rows]:
            done = ODD[self.own.conversion_without_click]
            yield f"conversions without a click {done}: {', '.join(odd)}"
        for split, _, *cut in counted:
            if bags := [f"{n:,} of {bag}" for bag, n in zip(BAGS, cut, strict=True) if n]:
                yield f"values of {split} beyond max_values: {', '.join(bags)}"

    @property
    def kept(self) -> str:
        """SQL that is true of the impressions that are kept."""
        return "NOT odd" if self.own.conversion_without_click == "drop" else "true"

    def joined(self, part: str) -> str:
        """SQL of the impressions of a part with their common features; `odd` are conversions
        without a click, and `cut` lists how many values of each bag are left out."""
        most = self.own.max_values
        click = "click OR conversion" if self.own.conversion_without_click == "click" else "click"
        split = "if(held_out(sample_id), 'validation', 'train')" if part == "train" else "'test'"
        columns = [
            "line, conversion AND NOT click AS odd",
            f"{click} AS click, conversion, {split} AS split",
            'coalesce(i."101", c."101", -1 - sample_id) AS "user"',  # who is nobody is alone
        ]
        for field in FIELDS:
            if field not in MANY:
                columns.append(f'coalesce(i."{field}", c."{field}") AS "{field}"')
                continue
            pairs = f'list_concat(i."{field}", c."{field}")[:{most if field in BAGS else 1}]'
            columns.append(f'list_transform({pairs}, lambda x: x.id) AS "{field}"')
            columns.append(f'list_transform({pairs}, lambda x: x.weight) AS "{field}_weights"')
        sizes = (f'coalesce(i."n{bag}", 0) + coalesce(c."n{bag}", 0)' for bag in BAGS)
        cut = ", ".join(f"greatest({size} - {most}, 0)" for size in sizes)
        columns.append(f"[{cut}] AS cut")
        rows = "SELECT rowid AS line, * FROM impressions WHERE sample_id IS NOT NULL"
        return f"SELECT {', '.join(columns)} FROM ({rows}) i LEFT JOIN common c USING (index)"


def read(
    database: duckdb.DuckDBPyConnection, table: str, form: str, path: pathlib.Path, most: int
) -> int:
    """Makes a table of a file: what its form has, and the fields, NULL where a line is left out.

    Of most fields it holds an id, of MANY a list of `{id, weight}`; and as `n` and the field's
    name, how many there are before a bag is cut to `most`. Returns the number of lines.
    """
    wrong, head = FORMS[form]
    columns = [f"one(features, '{f}') AS \"{f}\"" for f in FIELDS if f not in MANY]
    for field in MANY:
        kept = most if field in BAGS else 1
        columns.append(f"many(features, '{field}', {kept}) AS \"{field}\"")
        columns.append(f"len(parts(features, '{field}')) AS \"n{field}\"")
    return raw_tables.read_text(
        database,
        table,
        path,
        f"""
        SELECT wrong, begins, {head}, {", ".join(columns)}
        FROM (SELECT *, chr(1) || v[-1] AS features FROM (
            SELECT wrong, if(wrong IS NULL, NULL, text) AS begins,
                if(wrong IS NULL OR wrong = '{UNKNOWN}', v, NULL) AS v
            FROM (SELECT *, {wrong} AS wrong FROM (
                SELECT *, string_split(text, ',') AS v
                FROM (SELECT ltrim(text, '{MARK}') AS text FROM lines)))))
        """,
        encoding="latin-1",  # all that is of use is ASCII
    )


class Damage(NamedTuple):
    """What is wrong with some lines of a file, of `lines` in all; the first is shown."""

    file: str
    lines: int
    reason: str
    count: int
    first: int
    begins: str

    def __str__(self) -> str:
        done = "used in part" if self.reason in IN_PART else "skipped"
        count = f"{self.count:,} of {self.lines:,} lines {done}"
        first = f"the first is line {self.first}: {self.begins!r}"
        return f"{self.file}: {count}: {self.reason}; {first}"


def damage_of(
    database: duckdb.DuckDBPyConnection, table: str, path: pathlib.Path, lines: int, percent: int
) -> list[Damage]:
    """What is wrong with the lines of a file, the most frequent first.

    Raises:
      UserError: more than `percent` of its lines are damaged.
    """
    file = path.name.removesuffix(".gz")
    rows = database.execute(
        f"SELECT reason, count(*) AS n, min(line) + 1 AS first, arg_min(begins, line) "
        f"FROM damage_of_{table}() WHERE reason IS NOT NULL GROUP BY reason ORDER BY n DESC, first"
    )
    found = [
        Damage(file, lines, *row, begins if len(begins) <= SHOWN else f"{begins[:SHOWN]}…")
        for *row, begins in rows.fetchall()
    ]
    count = sum(damage.count for damage in found if damage.reason != UNKNOWN)
    if count * 100 > percent * lines:
        raise UserError(
            f"{path}: {count:,} of {lines:,} lines are damaged; at most {percent} % may be "
            f"(option damaged). {' '.join(map(str, found))}"
        )
    return found


def held_out(ids: Int[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
    """A mask of the train file's lines that belong to validation, by sample_id.

    The reader that was released with DTN skips lines: what it writes has the same ids, but not
    their numbers.
    """
    low, high = (part.astype(np.uint32) for part in (ids & 0xFFFFFFFF, ids >> 32))
    hashed = scramble(low ^ scramble(high) ^ np.uint32(VALIDATION_SEED))
    return hashed < np.uint32(VALIDATION * 2**32)
