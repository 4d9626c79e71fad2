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
from dtn_jax.options import Option

FOLDER = pathlib.Path(__file__).parent
COLUMNS = {  # {column: its type in DuckDB}
    **dict.fromkeys(("user_id", "video_id", "date", "hourmin"), "BIGINT"),
    **dict.fromkeys(("duration_ms", "is_click", "long_view", "is_profile_enter"), "DOUBLE"),
    **dict.fromkeys(("is_comment", "is_forward", "is_follow"), "DOUBLE"),
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

    def raw_names(self) -> tuple[str, ...]:
        """The log's files, in order of time by their names: CSV as published, else Parquet."""
        files = sorted(self.folder.glob("log_standard*.csv"))
        files = files or sorted(self.folder.glob("*.parquet"))
        return tuple(path.name for path in files) or ("log_standard*.csv",)

    def raw(self, files):
        """The rows of the split's days, day by day, each day's in the order of the files."""
        columns = ", ".join(f"{name}::{kind} AS {name}" for name, kind in COLUMNS.items())
        rows, form = f"SELECT {columns} FROM FILE", {"header": True, "delim": ","}
        days = [int(day) for values in self.spec.split.values.values() for day in values]
        with raw_tables.opened(self.home / "join") as database:
            for n, path in enumerate(files.values()):
                raw_tables.read(database, f"file{n}", path, rows, **form)
            tables = (f"SELECT {n} AS file, rowid AS place, * FROM file{n}" for n in range(n + 1))
            database.execute(f"CREATE VIEW log AS {' UNION ALL '.join(tables)}")
            other = f"SELECT count(*), min(date), max(date) FROM log WHERE date NOT IN {(*days,)}"
            count, first, last = database.execute(other).fetchall()[0]
            if count:
                skipped = f"skipped {count:,} rows of other days ({first} to {last})"
                self.notes = {"account": [skipped]}
            log = f"SELECT * EXCLUDE (file, place) FROM log WHERE date IN {(*days,)}"
            yield from raw_tables.frames(database, f"{log} ORDER BY date, file, place")


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
