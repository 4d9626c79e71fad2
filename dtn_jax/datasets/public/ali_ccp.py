"""Ali-CCP (Alibaba Click and Conversion Prediction): impressions of a shop, click → conversion.

Reads, from `<manual_dir>/ali_ccp`, the published `sample_skeleton_{train,test}.csv` and
`common_features_{train,test}.csv`, or else the `train_data.csv` and `test_data.csv` that the
reader released with DTN writes from them; each plain or `.gz`. ali_ccp_lines.py has their forms.

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
from typing import ClassVar

import duckdb
import numpy as np
import pyarrow as pa

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.public import ali_ccp_lines as lines
from dtn_jax.datasets.public.ali_ccp_lines import COMMON, RELEASED, SKELETON, read
from dtn_jax.datasets.public.joined_logs import JoinedLogs
from dtn_jax.datasets.public.public_logs import Files
from dtn_jax.errors import UserError
from dtn_jax.options import Option
from dtn_jax.shapes import Bool, Int
from dtn_jax.tables.hashing import scramble

PARTS = ("train", "test")
VALIDATION = 0.1  # of the train file's lines, by a hash of their sample_id
VALIDATION_SEED = 2018
SLICE = 4_000_000  # values of a bag that are joined at a time


class AliCCP(JoinedLogs):
    """Ali-CCP: 23 fields of users, items and their history; click → conversion.

    The group of a row, for GAUC, is its user.
    """

    name = "ali_ccp"
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
    FIELD_OPTIONS = ("min_count", "max_values", "pooling")

    def variant(self) -> str:
        own = self.own
        counts = f"min_count{own.min_count}", f"max_values{own.max_values}"
        return "_".join((own.pooling, *counts, own.conversion_without_click))

    def schema_text(self) -> str:
        own, text = self.own, super().schema_text()
        text = text.replace("max_values: 20", f"max_values: {own.max_values}")
        text = text.replace("min_count: 2", f"min_count: {own.min_count}")
        if own.pooling in ("max", "unweighted"):
            text = re.sub(", weights: [^}]*", "", text)
        pooling = "sum" if own.pooling == "unweighted" else own.pooling
        return text.replace("pooling: sum", f"pooling: {pooling}")

    def raw_names(self) -> tuple[str, ...]:
        """The published files, or where the user has them the released reader's; each as it is
        there, plain or `.gz`."""
        folder = (self.manual_dir or pathlib.Path("nowhere")) / self.name
        there = {path.name for path in folder.glob("*.csv*")}
        plain = {name.removesuffix(".gz") for name in there}
        published = [form.format(part) for part in PARTS for form in (SKELETON, COMMON)]
        released = [RELEASED.format(part) for part in PARTS]
        names = released if plain.isdisjoint(published) and plain & {*released} else published
        packed = {f"{name}.gz" for name in names if name not in there} & there
        return tuple(f"{name}.gz" if f"{name}.gz" in packed else name for name in names)

    def join(
        self, database: duckdb.DuckDBPyConnection, files: Files, folder: pathlib.Path
    ) -> dict[str, object]:
        """The impressions, train's and then test's in the order of their files, with their common
        features; some at a time, each time in a file of their own."""
        files = {name.removesuffix(".gz"): path for name, path in files.items()}
        database.create_function(
            "held_out",
            lambda ids: pa.array(held_out(ids.to_numpy())),
            ["BIGINT"],
            "BOOLEAN",
            type="arrow",
        )
        damage: dict[str, lines.Damage] = {}
        odd, cut, most = {}, {}, self.own.max_values
        sums = ", ".join(f"sum(cut[{n}])" for n in range(1, len(lines.BAGS) + 1))
        for n, part in enumerate(PARTS):
            skeleton, common, released = (f.format(part) for f in (SKELETON, COMMON, RELEASED))
            if released in files:
                damage[released] = read(database, RELEASED, files[released], most)
                none = "SELECT * EXCLUDE (sample_id, click, conversion) FROM impressions LIMIT 0"
                database.execute(f"CREATE TABLE common AS {none}")
            else:
                damage[common] = read(database, COMMON, files[common], most)
                damage[skeleton] = read(database, SKELETON, files[skeleton], most)
                lines.match(database, damage[skeleton], damage[common])
            for account in damage.values():
                account.check(self.own.damaged)
            database.execute(f"CREATE VIEW joined AS {self.joined(part)}")
            odd |= _by_split(database, "count(*)", "odd")
            cut |= _by_split(database, sums, self.kept)
            count = damage[released if released in files else skeleton].lines
            step = max(SLICE // most, 1)
            for first in range(0, count, step):
                log = f"SELECT * EXCLUDE (line, odd, cut) FROM joined WHERE {self.kept} "
                log += f"AND line >= {first} AND line < {first + step} ORDER BY line"
                database.sql(log).write_parquet(str(folder / f"{n}-{first:012d}.parquet"))
            database.execute("DROP VIEW joined; DROP TABLE impressions; DROP TABLE common")
        account = [text for found in damage.values() for text in found.account()]
        done = {"drop": "left out", "keep": "kept", "click": "counted as clicks"}
        done = done[self.own.conversion_without_click]
        if odd:
            counts = ", ".join(f"{rows:,} of {split}" for split, (rows,) in odd.items())
            account.append(f"conversions without a click {done}: {counts}")
        for split, values in cut.items():
            counts = [f"{n:,} of {bag}" for bag, n in zip(lines.BAGS, values, strict=True) if n]
            if counts:
                account.append(f"values of {split} beyond max_values: {', '.join(counts)}")
        return {"lines": {name: d.facts() for name, d in damage.items()}, "account": account}

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
        for field in lines.FIELDS:
            if field not in (*lines.BAGS, *lines.CROSSES):
                columns.append(f'coalesce(i."{field}", c."{field}") AS "{field}"')
                continue
            pairs = f'list_concat(i."{field}", c."{field}")[:{most if field in lines.BAGS else 1}]'
            columns.append(f'list_transform({pairs}, lambda x: x.id) AS "{field}"')
            columns.append(f'list_transform({pairs}, lambda x: x.weight) AS "{field}_weights"')
        sizes = (f'coalesce(i."n{bag}", 0) + coalesce(c."n{bag}", 0)' for bag in lines.BAGS)
        cut = ", ".join(f"greatest({size} - {most}, 0)" for size in sizes)
        columns.append(f"[{cut}] AS cut")
        rows = "SELECT rowid AS line, * FROM impressions WHERE sample_id IS NOT NULL"
        return f"SELECT {', '.join(columns)} FROM ({rows}) i LEFT JOIN common c USING (index)"

    def check_notes(self, notes: dict) -> str:
        """A set that was prepared with a higher `damaged` is the same, and may be too poor."""
        for name, facts in notes["lines"].items():
            if problem := lines.too_many(facts, self.own.damaged):
                raise UserError(
                    f"when {name} was prepared, {problem}. {' '.join(notes.get('account', ()))}"
                )
        lost = sum(facts["left_out"] for facts in notes["lines"].values())
        return f"{lost:,} damaged lines were left out when it was prepared" if lost else ""


def _by_split(database: duckdb.DuckDBPyConnection, sums: str, where: str) -> dict[str, tuple]:
    """{split: SQL sums of the joined rows of which `where` is true}."""
    query = f"SELECT split, {sums} FROM joined WHERE {where} GROUP BY split ORDER BY split"
    return {split: found for split, *found in database.execute(query).fetchall()}


def held_out(ids: Int[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
    """A mask of the train file's lines that belong to validation, by sample_id.

    The files of the publishers and of the released reader share ids but not line numbers, as that
    reader skips lines.
    """
    low, high = (part.astype(np.uint32) for part in (ids & 0xFFFFFFFF, ids >> 32))
    hashed = scramble(low ^ scramble(high) ^ np.uint32(VALIDATION_SEED))
    return hashed < np.uint32(VALIDATION * 2**32)
