"""Two sides, each of runs or of files of scores: read, compared on the same rows, and shown."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.comparison import differences, pages, score_files
from dtn_jax.comparison.differences import Difference
from dtn_jax.comparison.score_files import Columns
from dtn_jax.comparison.scored_rows import ScoredRows, check_one_model, of_run
from dtn_jax.errors import UserError
from dtn_jax.report import screen
from dtn_jax.run.outcome import runs_in
from dtn_jax.schema import Schema

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
    ours, theirs = sides(a, b, columns)
    score_files.check([*ours, *theirs], columns.group, columns.weight)
    differences.aligned(ours, theirs)
    found = differences.differences(ours, theirs, draws)
    return ours, theirs, found + differences.rank_differences(ours, theirs, draws)


def show(
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], found: Sequence[Difference], out: str
) -> None:
    """Shows the differences in the terminal, and writes them into the folder `out`, if any.

    Raises:
      UserError: the folder cannot be written.
    """
    names = [", ".join(run.name for run in side) for side in (a, b)]
    runs = tuple(side[0].config is not None for side in (a, b))
    kinds = ["the trained state" if run else "the file" for run in runs]
    single = dict(zip("AB", kinds)) if len(a) == len(b) == 1 else {}
    best = "ahead" if single else "best"
    lines = pages.verdict(found, single)
    grouped = any(run.group is not None for run in (*a, *b))
    more = pages.notes(grouped, (len(a), len(b)), runs)
    screen.show(f"A: {names[0]}\nB: {names[1]}")
    screen.show(pages.terminal(found, best), pages.WIDE)
    what = "test rows" if any(runs) else "rows"
    print("\n".join([f"\n{len(a[0].key):,} {what}.", *lines, "", *more]))
    if out:
        folder = pathlib.Path(out).expanduser().absolute()
        title = f"A: {names[0]}   B: {names[1]}"
        try:
            pages.write(folder, found, title, [*lines, *more], best)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
        print(f"compare.md, compare.csv and differences.png are in {folder}")


def sides(a: str, b: str, columns: Columns) -> tuple[list[ScoredRows], list[ScoredRows]]:
    """The scored rows of both sides, runs first: their schema says what is in a file."""
    read: dict[str, list[ScoredRows]] = {}
    schema: Schema | None = None
    paths = {text: _paths(text) for text in (a, b)}
    for text in sorted(paths, key=lambda text: not all(path.is_dir() for path in paths[text])):
        read[text] = []
        for path in paths[text]:
            for place in runs_in(path) if path.is_dir() else [path]:
                if path.is_dir():
                    rows, schema = of_run(place)
                else:
                    rows = score_files.of_file(place, schema, columns)
                read[text].append(rows)
        check_one_model(read[text])
    return list(read[a]), list(read[b])


def _paths(text: str) -> list[pathlib.Path]:
    """A path, or several by comma; a comma may be part of a name that is there."""
    whole = pathlib.Path(text).expanduser()
    parts = [pathlib.Path(part.strip()).expanduser() for part in text.split(",") if part.strip()]
    if not parts:
        raise UserError("expected two runs: RUN_A RUN_B. See --help.")
    paths = [whole] if whole.exists() else parts
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there; expected a run's workdir or a Parquet file")
    return paths
