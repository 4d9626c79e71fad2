"""MovieLens 100K, 1M and 25M; movielens_100k.yaml and the others say what becomes of them.

The raw files are a table of ratings and one of movies, two of the versions also have one of users.
Their forms are those of the README files that come with the archives.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import ClassVar

import duckdb

from dtn_jax.data.sets import raw_tables
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.data.sets.raw_tables import TEXT, Column, refuse
from dtn_jax.errors import UserError
from dtn_jax.options import Option


@dataclasses.dataclass(frozen=True)
class Table:
    """The form of a file.

    Attributes:
      path: in the archive.
      columns: the names of the first values of a line.
      separator: between values.
      more: how many values follow.
      header: the first line; '' where there is none.
    """

    path: str
    columns: tuple[str, ...]
    separator: str
    more: int = 0
    header: str = ""


RATING = ("user", "movie", "rating", "t")
VERSIONS = {
    "100k": {
        "movies": Table("ml-100k/u.item", ("movie",), "|", 23),
        "users": Table("ml-100k/u.user", ("user", "age", "gender", "occupation", "zip"), "|"),
        "ratings": Table("ml-100k/u.data", RATING, "\t"),
    },
    "1m": {
        "movies": Table("ml-1m/movies.dat", ("movie",), "::", 2),
        "users": Table("ml-1m/users.dat", ("user", "gender", "age", "occupation", "zip"), "::"),
        "ratings": Table("ml-1m/ratings.dat", RATING, "::"),
    },
    "25m": {
        "movies": Table("ml-25m/movies.csv", ("movie",), ",", 2, "movieId,title,genres"),
        "ratings": Table("ml-25m/ratings.csv", RATING, ",", 0, "userId,movieId,rating,timestamp"),
    },
}
WHOLE = Column("BIGINT", r"\d{1,18}", "a whole number")
NUMBERS = {"user": WHOLE, "movie": WHOLE, "t": WHOLE}
NUMBERS["rating"] = Column("DOUBLE", r"\d+(\.\d+)?", "a number")
# The flags of u.item, in their order.
FLAGS = (
    *("unknown", "Action", "Adventure", "Animation", "Children''s", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
FLAGGED = f"list_filter(string_split('{'|'.join(FLAGS)}', '|'), lambda _, n: v[n + 5] = '1')"
NAMED = "string_split(v[3], '|')"
NO_GENRES = "('unknown', '(no genres listed)')"
YEAR = r"""\((\d{4})(?:[-–]\d{0,4})?\)\s*"?$"""  # at the end of a title, of series the first one
QUOTED = r"""regexp_extract_all(text, '"(?:[^"]|"")*"|[^,]+')"""  # no value is empty


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
        return tuple(table.path for table in VERSIONS[self.own.version].values())

    def raw(self, files):
        """All ratings, in the order of their file, with their movie's and user's columns."""
        tables, joins = dict(VERSIONS[self.own.version]), ""
        with raw_tables.opened(self.home / "join") as database:
            for name, table in tables.items():
                read(database, name, table, files[table.path])
            ratings = tables.pop("ratings")
            for name, table in tables.items():
                key = f'"{table.columns[0]}"'
                joins += f"JOIN {name} USING ({key}) "
                unknown = f"{key} NOT IN (SELECT {key} FROM {name})"
                told = f"'{table.columns[0]} ' || {key} || ' is not in {table.path}'"
                path = files[ratings.path]
                refuse(database, "ratings", path, bool(ratings.header), unknown, told)
            log = f"SELECT COLUMNS(* EXCLUDE (wrong)) FROM ratings {joins} ORDER BY ratings.rowid"
            yield from raw_tables.frames(database, log)


def read(database: duckdb.DuckDBPyConnection, name: str, table: Table, path: pathlib.Path) -> None:
    """Makes a table of a file.

    Raises:
      UserError: a line that is not of the file's form, or a movie or a user that is there twice.
    """
    header, values, more = bool(table.header), f"string_split(text, '{table.separator}')", ""
    if header and (line := ",".join(raw_tables.names_of(path))) != table.header:
        raise UserError(f"{path}, line 1: the header is {line!r}, expected {table.header!r}")
    if name == "movies":
        values = QUOTED if header else values
        genres = FLAGGED if table.more > 2 else NAMED
        more = f"list_filter({genres}, lambda g: g NOT IN {NO_GENRES}) AS genres, "
        more += f"try_cast(regexp_extract(v[2], '{YEAR}', 1) AS BIGINT) AS year, "
    columns = {column: NUMBERS.get(column, TEXT) for column in table.columns}
    names, encoding = (*columns, *[""] * table.more), "utf-8" if header else "latin-1"
    raw_tables.read_table(database, name, path, columns, names, header, encoding, values, more)
    if name != "ratings":
        key = table.columns[0]
        twice = f'rowid NOT IN (SELECT min(rowid) FROM {name} GROUP BY "{key}")'
        told = f"""'{key} ' || "{key}" || ' is there already'"""
        refuse(database, name, path, header, twice, told)
