"""KuaiRand's standard log (Gao et al., CIKM 2022): a short-video recommender's impressions.

Reads, from `<manual_dir>/kuairand`, the published `log_standard*.csv` (of KuaiRand-1K, -27K or
-Pure) or Parquet files with the same columns, such as a subset of them. All columns but NEEDED may
be missing: a missing column drops its task or field, with a message. The days of kuairand.yaml,
with which all versions begin, decide the split; rows of other days are counted and skipped.
"""

from __future__ import annotations

import functools
import pathlib
from typing import ClassVar

import duckdb

from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.schema.spec import Spec
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.kept_numbers import NUMBERS, in_schema, variant
from dtn_jax.datasets.public.joined_logs import JoinedLogs
from dtn_jax.datasets.public.public_logs import Files
from dtn_jax.datasets.public.raw_tables import Column, names_of, read_table
from dtn_jax.errors import UserError
from dtn_jax.options import Option

NEEDED = ("user_id", "video_id", "date", "is_click")
LABEL = Column("TINYINT", r"([01](\.0)?)?", "0, 1 or missing")
COLUMNS = {
    "user_id": Column("BIGINT", r"-?\d{1,18}", "a user"),
    "video_id": Column("BIGINT", r"(-?\d{1,18})?", "a whole number"),
    "date": Column("BIGINT", r"\d{4}(0\d|1[012])([012]\d|3[01])", "a date such as 20220408"),
    "hourmin": Column(
        "BIGINT", r"(0*([0-5]?\d|(1?\d|2[0-3])[0-5]\d))?", "a time as HHMM, from 0 to 2359"
    ),
    "duration_ms": Column("DOUBLE", r"(-?\d+(\.\d+)?)?", "a number"),
    **dict.fromkeys(("is_click", "long_view", "is_profile_enter"), LABEL),
    **dict.fromkeys(("is_comment", "is_forward", "is_follow"), LABEL),
}


class KuaiRand(JoinedLogs):
    """KuaiRand's standard log: click → long view, profile enter, comment, forward, follow.

    Fields: user, video, hour, weekday, duration. Users and videos seen less than `min_count` times
    in train share the unknown id. The group of a row, for GAUC, is its user; its day is its date.
    """

    name = "kuairand"
    weight = ""
    layout = Layout(lanes=32, block_rows=128)
    OPTIONS: ClassVar[dict[str, Option]] = {
        "min_count": Option(2, "times that train must show a user or a video", least=1),
        "numbers": NUMBERS,
    }
    FIELD_OPTIONS = ("min_count", "numbers")

    def variant(self) -> str:
        parts = f"min_count{self.own.min_count}", variant(self.own.numbers)
        return "_".join(filter(None, parts))

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the log's files."""
        return (self.manual_dir or pathlib.Path("nowhere")) / "kuairand"

    def raw_names(self) -> tuple[str, ...]:
        """The log's files, in order of time by their names: CSV as published, else Parquet."""
        found = sorted(self.folder.glob("log_standard*.csv"))
        found = found or sorted(self.folder.glob("*.parquet"))
        return tuple(path.name for path in found) or ("log_standard*.csv",)

    def schema_text(self) -> str:
        """The schema file's, without the fields and tasks whose columns no raw file has."""
        text = super().schema_text().replace("min_count: 2", f"min_count: {self.own.min_count}")
        lines = in_schema(text, self.own.numbers).splitlines(keepends=True)
        return "".join(line for line in lines if line.strip().partition(":")[0] not in self.absent)

    @functools.cached_property
    def absent(self) -> dict[str, str]:
        """The fields and tasks whose columns no raw file has, {name: column}."""
        columns = columns_of(schema_file.loads(super().schema_text()))
        try:
            known = {name for log in self.raw_names() for name in names_of(self.folder / log)}
        except UserError:  # a prepared set needs no raw files
            path = pathlib.Path(self.data_dir) / "schema_file.yaml"
            known = columns_of(schema_file.load(path)).values() if path.exists() else COLUMNS
        return {name: c for name, c in columns.items() if c not in {*known, *NEEDED}}

    def join(
        self, database: duckdb.DuckDBPyConnection, files: Files, folder: pathlib.Path
    ) -> dict[str, object]:
        """The rows of the split's days, day by day, each day's in the order of the files."""
        account = [f"no column {c!r}: dropped {name!r}" for name, c in self.absent.items()]
        tables = []
        for n, path in enumerate(files.values()):
            known = read_table(database, f"file{n}", path, COLUMNS, NEEDED)
            known += self.absent.values()
            if lacking := [repr(column) for column in COLUMNS if column not in known]:
                account.append(f"no column {', '.join(lacking)} in {path.name}: no values")
            tables.append(f"SELECT {n} AS file, rowid AS place, * EXCLUDE (wrong) FROM file{n}")
        database.execute(f"CREATE VIEW log AS {' UNION ALL BY NAME '.join(tables)}")
        counts = database.sql("SELECT date, count(*) FROM log GROUP BY date ORDER BY date")
        rows = dict(counts.fetchall())
        days = [int(day) for values in self.spec.split.values.values() for day in values]
        if lacking := [str(day) for day in days if day not in rows]:
            raise UserError(
                f"kuairand: no row is of {', '.join(lacking)}; expected rows of all days from "
                f"{days[0]} to {days[-1]}, since the split is by day"
            )
        if others := [day for day in rows if day not in days]:
            account.append(
                f"skipped {sum(rows[day] for day in others):,} rows of {len(others)} other days "
                f"({others[0]} to {others[-1]})"
            )
        log = "SELECT * EXCLUDE (file, place) FROM log WHERE date IN "
        log = database.sql(f"{log} {tuple(days)} ORDER BY date, file, place")
        log.write_parquet(str(folder / "log.parquet"))
        return {"account": account}


def columns_of(spec: Spec) -> dict[str, str]:
    """{field or task: its column}."""
    fields = {field.name: field.value.columns[0] for field in spec.fields}
    return fields | {task.name: task.label.columns[0] for task in spec.tasks}
