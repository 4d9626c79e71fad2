"""KuaiRand's standard log (Gao et al., CIKM 2022): a short-video recommender's impressions.

Three sets: `kuairand`, the first 14 days of any version, `kuairand_histories`, the same rows with
what users did before, and `kuairand_pure`, the split of the Starter Kit of KuaiRand-Pure.

The first two read, from `<manual_dir>/kuairand`, the published `log_standard*.csv` (of KuaiRand-1K,
-27K or -Pure) or Parquet files with the same columns, such as a subset of them.
"""

from __future__ import annotations

import pathlib
from typing import ClassVar

from dtn_jax.data.blocks import Layout
from dtn_jax.data.sets import raw_tables
from dtn_jax.data.sets.data_set import NUMBERS, DataSet
from dtn_jax.data.sets.raw_tables import Column
from dtn_jax.errors import UserError
from dtn_jax.options import Option

FOLDER = pathlib.Path(__file__).parent
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
LATER = "_4_22_to_5_08_"  # in the names of published files of which `kuairand` skips all rows


class KuaiRand(DataSet):
    """KuaiRand's standard log: click → long view, profile enter, comment, forward, follow.

    Fields: user, video, hour, weekday, duration. Users and videos seen less than `min_count` times
    in train share the unknown id. The group of a row, for GAUC, is its user; its day is its date.

    The days of kuairand.yaml, with which all versions begin, decide the split; rows of other days
    are counted and skipped.
    """

    name = "kuairand"
    schema = FOLDER / "kuairand.yaml"
    weight = ""
    layout = Layout(lanes=32, block_rows=128)
    OPTIONS: ClassVar[dict[str, Option]] = {
        "min_count": Option(2, "times that train must show a user or a video", least=1),
        "numbers": NUMBERS,
    }
    FIELD_OPTIONS = ("min_count", "numbers")

    def raw_names(self) -> tuple[str, ...]:
        """The log's files, in order of time by their names: CSV as published, else Parquet."""
        found = sorted(self.folder.glob("log_standard*.csv"))
        found = found or sorted(self.folder.glob("*.parquet"))
        return tuple(path.name for path in found) or ("log_standard*.csv",)

    def raw(self, files):
        """The rows of the split's days, day by day, each day's in the order of the files."""
        with raw_tables.opened(self.home / "join") as database:
            for n, path in enumerate(files.values()):
                raw_tables.read_table(database, f"file{n}", path, COLUMNS)
            tables = (f"SELECT {n} AS file, rowid AS place, * FROM file{n}" for n in range(n + 1))
            database.execute(f"CREATE VIEW log AS {' UNION ALL '.join(tables)}")
            counts = database.sql("SELECT date, count(*) FROM log GROUP BY date ORDER BY date")
            rows = dict(counts.fetchall())
            days = [int(day) for values in self.spec.split.values.values() for day in values]
            if lacking := [str(day) for day in days if day not in rows]:
                raise UserError(
                    f"kuairand: no row is of {', '.join(lacking)}; expected rows of all days from "
                    f"{days[0]} to {days[-1]}, since the split is by day"
                )
            if others := [day for day in rows if day not in days]:
                skipped = f"skipped {sum(rows[day] for day in others):,} rows of {len(others)}"
                span = f"other days ({others[0]} to {others[-1]})"
                self.notes = {"account": [f"{skipped} {span}"]}
            log = "SELECT * EXCLUDE (file, place, wrong) FROM log WHERE date IN "
            yield from raw_tables.frames(
                database, f"{log} {tuple(days)} ORDER BY date, file, place"
            )


class KuaiRandHistories(DataSet):
    """KuaiRand: the fields and tasks of `kuairand`, and the user's last 50 clicks and long views.

    Rows, labels, days of the splits and the other fields are those of `kuairand` with
    `min_count=1`, where its days begin on 8 April 2022, as in all versions of KuaiRand: so results
    on both differ by histories alone. Histories list what is strictly earlier by `time_ms`, which
    the files must have. Files of later days alone are not read.
    """

    name = "kuairand_histories"
    schema = FOLDER / "kuairand_histories.yaml"
    weight = ""
    OPTIONS: ClassVar[dict[str, Option]] = {"numbers": NUMBERS}
    FIELD_OPTIONS = ("numbers",)

    def raw_files(self) -> dict[str, pathlib.Path]:
        """The raw files of the days that are read, by name.

        Raises:
          UserError: there are none; it says where to get them.
        """
        kuairand = KuaiRand(data_dir=str(self.root), manual_dir=self.manual_dir)
        return {name: path for name, path in kuairand.raw_files().items() if LATER not in name}


class KuaiRandPure(DataSet):
    """KuaiRand-Pure: click → long view, profile enter, comment, forward, follow."""

    name = "kuairand_pure"
    schema = FOLDER / "kuairand_pure.yaml"
    weight = ""
    url = "https://zenodo.org/records/10439422/files/KuaiRand-Pure.tar.gz"

    def raw_names(self) -> tuple[str, ...]:
        spans = ("4_08_to_4_21", "4_22_to_5_08")
        return tuple(f"KuaiRand-Pure/data/log_standard_{span}_pure.csv" for span in spans)
