"""MovieLens' files: each version's form, the first wrong line, and all of them joined.

The forms are those of the README files that come with the archives.
"""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Iterator

import polars as pl
import pyarrow.parquet as pq

from dtn_jax.datasets.public.public_logs import Files
from dtn_jax.errors import UserError

BYTES = 16 << 20  # of a file that are read at a time
NO_GENRES = ("(no genres listed)", "unknown")
YEAR = r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$"  # at the end of a title, of series the first one
# The flags of u.item, in their order.
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """The form of a file.

    Attributes:
      name: its path in the archive.
      columns: in order.
      separator: between values.
      encoding: of its text.
      header: what its first line says; () where there is none.
      quoted: whether values may stand in quotes.
    """

    name: str
    columns: tuple[str, ...]
    separator: str
    encoding: str = "latin-1"
    header: tuple[str, ...] = ()
    quoted: bool = False


@dataclasses.dataclass(frozen=True)
class Version:
    """The files of a version; `users` is None where there is no such file."""

    ratings: Table
    movies: Table
    users: Table | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(table.name for table in (self.ratings, self.movies, self.users) if table)


RATING = ("user", "movie", "rating", "t")
VERSIONS = {
    "100k": Version(
        Table("ml-100k/u.data", RATING, "\t"),
        Table("ml-100k/u.item", ("movie", "title", "date", "video", "url", *GENRES), "|"),
        Table("ml-100k/u.user", ("user", "age", "gender", "occupation", "zip"), "|"),
    ),
    "1m": Version(
        Table("ml-1m/ratings.dat", RATING, "::"),
        Table("ml-1m/movies.dat", ("movie", "title", "genres"), "::"),
        Table("ml-1m/users.dat", ("user", "gender", "age", "occupation", "zip"), "::"),
    ),
    "25m": Version(
        Table(
            "ml-25m/ratings.csv",
            RATING,
            ",",
            encoding="utf-8",
            header=("userId", "movieId", "rating", "timestamp"),
        ),
        Table(
            "ml-25m/movies.csv",
            ("movie", "title", "genres"),
            ",",
            encoding="utf-8",
            header=("movieId", "title", "genres"),
            quoted=True,
        ),
    ),
}
NUMBERS = {"user": pl.Int64, "movie": pl.Int64, "rating": pl.Float64, "t": pl.Int64}
LINE = "line"  # the column of the numbers of lines


def join(version: str, files: Files, target: pathlib.Path) -> None:
    """Writes all ratings with their movie's and user's columns as one Parquet file.

    Args:
      version: one of VERSIONS.
      files: {name: path}.
      target: a row a rating, in the order of the file of ratings: user, movie, rating, t (seconds
        since 1970), year, genres (a list), and where there are users their columns.

    Raises:
      UserError: a line that is not of the file's form, a movie or a user twice, or a rating of one
        that there is not; it names the file and the line.
    """
    form = VERSIONS[version]
    path = files[form.ratings.name]
    sides = {"movie": movies(form.movies, files[form.movies.name])}
    if form.users:
        sides["user"] = whole(form.users, files[form.users.name], "user").drop(LINE)
    writer = None
    try:
        for ratings in rows(form.ratings, path):
            for key, side in sides.items():
                known = ratings[key].is_in(side[key].implode())
                if not known.all():
                    first = ratings.filter(~known).row(0, named=True)
                    name = files[(form.movies if key == "movie" else form.users).name]
                    raise UserError(
                        f"{path}, line {first[LINE]}: {key} {first[key]} is not in {name}"
                    )
                ratings = ratings.join(side, on=key, how="left", maintain_order="left")
            found = ratings.drop(LINE).to_arrow()
            writer = writer or pq.ParquetWriter(target, found.schema)
            writer.write_table(found)
    finally:
        if writer:
            writer.close()
    if writer is None:
        raise UserError(f"{path} holds no ratings")


def movies(form: Table, path: pathlib.Path) -> pl.DataFrame:
    """Columns movie, year (missing where the title has none) and genres."""
    found = whole(form, path, "movie")
    if "genres" in form.columns:
        genres = pl.col("genres").str.split("|")
    else:
        named = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in GENRES]
        genres = pl.concat_list(named).list.drop_nulls()
    genres = genres.list.set_difference(list(NO_GENRES))
    year = pl.col("title").str.extract(YEAR).cast(pl.Int64)
    return found.select("movie", year.alias("year"), genres.alias("genres"))


def whole(form: Table, path: pathlib.Path, key: str) -> pl.DataFrame:
    """All rows of a file whose `key` no two of them share."""
    found = list(rows(form, path))
    if not found:
        raise UserError(f"{path} is empty")
    table = pl.concat(found)
    twice = table.filter(~table[key].is_first_distinct())
    if len(twice):
        raise UserError(f"{path}, line {twice[LINE][0]}: {key} {twice[key][0]} is there already")
    return table


def rows(form: Table, path: pathlib.Path) -> Iterator[pl.DataFrame]:
    """The rows of a file, some at a time: text, but for NUMBERS, and the number of each line."""
    number = 1
    try:
        with path.open("rb") as file:
            if form.header:
                _check_header(form, path, file.readline())
                number = 2
            while lines := file.readlines(BYTES):
                yield _parsed(form, path, lines, number)
                number += len(lines)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _check_header(form: Table, path: pathlib.Path, line: bytes) -> None:
    expected = form.separator.join(form.header)
    if (got := line.decode(form.encoding, "replace").strip()) != expected:
        raise UserError(f"{path}, line 1: the header is {got!r}, expected {expected!r}")


def _parsed(form: Table, path: pathlib.Path, lines: list[bytes], number: int) -> pl.DataFrame:
    try:
        text = b"".join(lines).decode(form.encoding)
    except UnicodeDecodeError as error:
        at = number + error.object[: error.start].count(b"\n")
        raise UserError(f"{path}, line {at}: it is not {form.encoding}") from None
    texts = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    if form.quoted:
        values = pl.Series(
            [next(csv.reader([line]), []) for line in texts], dtype=pl.List(pl.String)
        )
    else:
        values = pl.Series(texts, dtype=pl.String).str.split(form.separator)
    bad = (values.list.len() != len(form.columns)).arg_true()
    if len(bad):
        raise UserError(
            f"{path}, line {number + bad[0]}: {len(values[bad[0]])} values, expected "
            f"{len(form.columns)}; is it cut?"
        )
    table = values.list.to_struct(fields=list(form.columns)).struct.unnest()
    table = table.with_columns(pl.int_range(number, number + len(texts)).alias(LINE))
    for name in NUMBERS.keys() & table.columns:
        numbers = table[name].cast(NUMBERS[name], strict=False)
        bad = numbers.is_null().arg_true()
        if len(bad):
            raise UserError(
                f"{path}, line {number + bad[0]}: {name} is {table[name][bad[0]]!r}, expected a "
                "number"
            )
        table = table.with_columns(numbers)
    return table
