"""Two sides, each of runs or of files of scores: read, and compared on the same rows."""

from __future__ import annotations

import pathlib

from dtn_jax.comparison import differences, score_files
from dtn_jax.comparison.differences import Difference
from dtn_jax.comparison.score_files import Columns
from dtn_jax.comparison.scored_rows import ScoredRows, check_one_model, of_run
from dtn_jax.errors import UserError
from dtn_jax.workdir.found import runs_in

Compared = tuple[list[ScoredRows], list[ScoredRows], list[Difference]]  # of A, of B, B − A


def compared(a: str, b: str, columns: Columns, draws: int) -> Compared:
    """The rows of both sides, in one order, and the differences.

    Args:
      a, b: a run's workdir, several seeds by comma, or a Parquet file.
      columns: of such a file.
      draws: exchanges of scores, for p and intervals.

    Raises:
      UserError: a side cannot be read, or the two are not of the same rows.
    """
    places = [places_of(text) for text in (a, b)]
    sides: list[list[ScoredRows]] = [[], []]
    schema = None
    for i in sorted((0, 1), key=lambda i: not places[i][0].is_dir()):  # the schema of a run says
        for place in places[i]:  # what is in a file
            if place.is_dir():
                rows, schema = of_run(place)
            else:
                rows = score_files.of_file(place, schema, columns)
            sides[i].append(rows)
        check_one_model(sides[i])
    score_files.check([*sides[0], *sides[1]], columns.group, columns.weight)
    differences.aligned(*sides)
    return (*sides, differences.differences(*sides, draws))


def check_two(a: str, b: str) -> None:
    """Raises UserError where both sides are the same runs or files."""
    one, two = ({place.resolve() for place in places_of(text)} for text in (a, b))
    if one == two:
        raise UserError(f"both sides are {a}: there is nothing to compare")


def places_of(text: str) -> list[pathlib.Path]:
    """The runs or files of a side: a path, or several by comma, which may be part of a name that is
    there; of a folder of replicas all."""
    whole = pathlib.Path(text).expanduser()
    parts = [pathlib.Path(part.strip()).expanduser() for part in text.split(",") if part.strip()]
    if not parts:
        raise UserError("expected two runs: RUN_A RUN_B. See --help.")
    paths = [whole] if whole.exists() else parts
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there; expected a run's workdir or a Parquet file")
    return [run for path in paths for run in (runs_in(path) if path.is_dir() else [path])]
