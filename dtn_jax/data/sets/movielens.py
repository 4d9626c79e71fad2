"""MovieLens 100K, 1M and 25M; movielens_100k.yaml and the others say what becomes of them.

The raw files are a table of ratings and one of movies, two of the versions also have one of users.
Their forms are those of the README files that come with the archives.
"""

from __future__ import annotations

import pathlib
from typing import ClassVar

from dtn_jax.data.sets import raw_tables
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.options import Option

# The flags of u.item, in their order.
FLAGS = (
    *("unknown", "Action", "Adventure", "Animation", "Children''s", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
RATINGS, MOVIES = ("user", "movie", "rating", "t"), ("movie", "title", "genres")
FLAGGED = tuple(f"flag{n}" for n in range(len(FLAGS)))
VERSIONS = {  # {version: {file: its columns}}; the ratings stand last
    "100k": {
        "ml-100k/u.item": (*MOVIES[:2], "released", "video", "url", *FLAGGED),
        "ml-100k/u.user": ("user", "age", "gender", "occupation", "zip"),
        "ml-100k/u.data": RATINGS,
    },
    "1m": {
        "ml-1m/movies.dat": MOVIES,
        "ml-1m/users.dat": ("user", "gender", "age", "occupation", "zip"),
        "ml-1m/ratings.dat": RATINGS,
    },
    "25m": {"ml-25m/movies.csv": MOVIES, "ml-25m/ratings.csv": RATINGS},
}
LATIN = {"quote": "", "encoding": "latin-1", "header": False}
FORMS = {  # of files, by the ends of their names
    "u.data": LATIN | {"delim": "\t"},
    ".item": LATIN | {"delim": "|"},
    ".user": LATIN | {"delim": "|"},
    ".dat": LATIN | {"delim": "::"},
    ".csv": {"quote": '"', "delim": ",", "header": True},
}
TYPES = {"user": "BIGINT", "movie": "BIGINT", "t": "BIGINT", "rating": "DOUBLE"}
YEAR = r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$"  # at the end of a title, of series the first one
LISTED = "string_split(genres, '|')"
GENRES = "', '".join(FLAGS)
OF_FLAGS = f"list_filter(['{GENRES}'], lambda _, n: [{', '.join(FLAGGED)}][n] = '1')"
NO_GENRES = "('unknown', '(no genres listed)')"


class MovieLens(DataSet):
    """MovieLens: like (a rating of 4 or more) and the rating itself."""

    name = "movielens"
    weight = ""
    OPTIONS: ClassVar[dict[str, Option]] = {
        "version": Option("1m", "how many ratings: 100K, 1M or 25M", choices=tuple(VERSIONS))
    }

    @property
    def url(self) -> str:
        """The address of the archive of this version."""
        return f"https://files.grouplens.org/datasets/movielens/ml-{self.own.version}.zip"

    @property
    def schema(self) -> pathlib.Path:
        """The schema file of this version."""
        return pathlib.Path(__file__).with_name(f"movielens_{self.own.version}.yaml")

    def raw_names(self) -> tuple[str, ...]:
        return tuple(VERSIONS[self.own.version])

    def raw(self, files):
        """All ratings, in the order of their file, with their movie's and user's columns."""
        joins = ""
        with raw_tables.opened(self.home / "join") as database:
            for path, columns in VERSIONS[self.own.version].items():
                key, table = columns[0], "ratings" if columns == RATINGS else f"{columns[0]}s"
                select = [f"{name}::{TYPES.get(name, 'VARCHAR')} AS {name}" for name in columns]
                if table == "movies":
                    genres = OF_FLAGS if FLAGGED[0] in columns else LISTED
                    genres = f"list_filter({genres}, lambda g: g NOT IN {NO_GENRES}) AS genres"
                    year = f"try_cast(regexp_extract(title, '{YEAR}', 1) AS BIGINT) AS year"
                    select = [select[0], genres, year]
                if table != "ratings":
                    joins += f" LEFT JOIN {table} USING ({key})"
                form = next({**form} for end, form in FORMS.items() if path.endswith(end))
                rows = f"SELECT {', '.join(select)} FROM FILE"
                form["columns"] = dict.fromkeys(columns, "VARCHAR")
                raw_tables.read(database, table, files[path], rows, **form)
            log = f"SELECT COLUMNS(*) FROM ratings{joins} ORDER BY ratings.rowid"
            yield from raw_tables.frames(database, log)
