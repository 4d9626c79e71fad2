"""MovieLens 1M and 25M; movielens_1m.yaml and movielens_25m.yaml say what becomes of them.

The raw files are a table of ratings and one of movies, that of 1M has also one of users. Their
forms are those of the README files that come with the archives.
"""

from __future__ import annotations

import pathlib
from typing import ClassVar

from dtn_jax.data.sets import raw_tables
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.options import Option

RATINGS, MOVIES = ("user", "movie", "rating", "t"), ("movie", "title", "genres")
VERSIONS = {  # {version: {file: its columns}}; the ratings stand last
    "1m": {
        "ml-1m/movies.dat": MOVIES,
        "ml-1m/users.dat": ("user", "gender", "age", "occupation", "zip"),
        "ml-1m/ratings.dat": RATINGS,
    },
    "25m": {"ml-25m/movies.csv": MOVIES, "ml-25m/ratings.csv": RATINGS},
}
FORMS = {
    ".dat": {"delim": "::", "quote": "", "encoding": "latin-1", "header": False},
    ".csv": {"delim": ",", "quote": '"', "header": True},
}
TYPES = {"user": "BIGINT", "movie": "BIGINT", "t": "BIGINT", "rating": "DOUBLE"}
YEAR = r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$"  # at the end of a title, of series the first one
NO_GENRES = "('unknown', '(no genres listed)')"
OF_MOVIES = f"""
    SELECT movie::BIGINT AS movie,
        list_filter(string_split(genres, '|'), lambda g: g NOT IN {NO_GENRES}) AS genres,
        try_cast(regexp_extract(title, '{YEAR}', 1) AS BIGINT) AS year
    FROM FILE
"""


class MovieLens(DataSet):
    """MovieLens: like (a rating of 4 or more) and the rating itself."""

    name = "movielens"
    weight = ""
    OPTIONS: ClassVar[dict[str, Option]] = {
        "version": Option("1m", "how many ratings: 1M or 25M", choices=tuple(VERSIONS))
    }

    @property
    def url(self) -> str:
        """The address of the archive of this version."""
        return f"https://files.grouplens.org/datasets/movielens/ml-{self.options.version}.zip"

    @property
    def schema(self) -> pathlib.Path:
        """The schema file of this version."""
        return pathlib.Path(__file__).with_name(f"movielens_{self.options.version}.yaml")

    def raw_names(self) -> tuple[str, ...]:
        return tuple(VERSIONS[self.options.version])

    def raw(self, files):
        """All ratings, in the order of their file, with their movie's and user's columns."""
        joins = ""
        with raw_tables.opened(self.home / "join") as database:
            for path, columns in VERSIONS[self.options.version].items():
                key, table = columns[0], "ratings" if columns == RATINGS else f"{columns[0]}s"
                texts = dict.fromkeys(columns, "VARCHAR")
                types = (f"{name}::{TYPES.get(name, 'VARCHAR')} AS {name}" for name in columns)
                rows = OF_MOVIES if columns == MOVIES else f"SELECT {', '.join(types)} FROM FILE"
                form = FORMS[path[-4:]] | {"columns": texts}
                raw_tables.read(database, table, files[path], rows, **form)
                if table != "ratings":
                    joins += f" LEFT JOIN {table} USING ({key})"
            log = f"SELECT COLUMNS(*) FROM ratings{joins} ORDER BY ratings.rowid"
            yield from raw_tables.frames(database, log)
