"""Compares two models on the same test rows: which is better, by how much, is it real.

RUN_A and RUN_B are workdirs of finished runs, several seeds of one model by comma, or a Parquet
file of scores with labels: of `score --labels`, or of another system. Their rows are matched and
their labels must be equal. AUC, log loss, normalised entropy and calibration (ECE,
predicted/observed) of each task in each space, with groups GAUC, NDCG, MRR and recall too, XAUC and
RMSE of regressions; each with B − A, its 95 % interval and a p-value.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command, folders
from dtn_jax.comparison import differences, model_columns, pages, score_files
from dtn_jax.comparison.differences import Difference
from dtn_jax.comparison.score_files import Columns
from dtn_jax.comparison.scored_rows import ScoredRows, check_one_model, of_run
from dtn_jax.errors import UserError
from dtn_jax.metrics.significance import DRAWS
from dtn_jax.report import screen
from dtn_jax.schema import Schema
from dtn_jax.workdir.found import runs_in

EXAMPLE = "dtn-jax compare runs/mmoe runs/dtn --out=runs/mmoe_or_dtn"


def main(arguments: Sequence[str]) -> None:
    known = parse(arguments)
    if known.out:
        folders.check(known.out, "--out")
    a, b, found = compared(known)
    names = [", ".join(run.name for run in side) for side in (a, b)]
    grouped = any(run.group is not None for run in (*a, *b))
    same = pages.on_both_sides(*([pathlib.Path(run.name) for run in side] for side in (a, b)))
    single = states(a, b)
    lines = [*same, *pages.verdict(found, single)]
    runs = (a[0].config is not None, b[0].config is not None)
    more = pages.notes(grouped, (len(a), len(b)), runs)
    best = "ahead" if single else "best"
    screen.show(pages.table(found, f"A: {names[0]}\nB: {names[1]}", best), pages.WIDE)
    print("\n".join([f"\n{len(a[0].key):,} test rows.", *lines, "", *more]))
    if known.out:
        folder = pathlib.Path(known.out).expanduser().absolute()
        try:
            pages.write(folder, found, f"A: {names[0]}   B: {names[1]}", [*lines, *more], best)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
        print(f"compare.md, compare.csv and differences.png are in {folder}")


def states(a: Sequence[ScoredRows], b: Sequence[ScoredRows]) -> dict[str, str]:
    """What each side is, for sentences; {} where one of them has several seeds."""
    if max(len(a), len(b)) > 1:
        return {}
    kinds = {True: "the trained state", False: "the file"}
    return {name: kinds[side[0].config is not None] for name, side in (("A", a), ("B", b))}


def compared(
    known: argparse.Namespace,
) -> tuple[list[ScoredRows], list[ScoredRows], list[Difference]]:
    """The rows of both sides, in one order, and the differences."""
    named = score_files.read_columns(known.columns)
    columns = Columns(known.key, known.group, known.weight, named)
    a, b = sides(known.a, known.b, columns)
    model_columns.check([*a, *b], known.group, known.weight)
    differences.aligned(a, b)
    return a, b, differences.differences(a, b, known.draws)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.parser(__doc__, EXAMPLE)
    help_ = "a finished run's workdir, several seeds by comma, or a Parquet file"
    parser.add_argument("a", metavar="RUN_A", help=help_)
    parser.add_argument("b", metavar="RUN_B", help="what is compared with it, in the same way")
    parser.add_argument(
        "--key",
        metavar="COLUMN",
        default="row",
        help="of a Parquet file: the column that says which row it is; beside a run the number of "
        "the row in test, from 0 on, as in its predictions.parquet (default: row)",
    )
    parser.add_argument(
        "--columns",
        metavar="TASK=SCORE:LABEL,...",
        default="",
        help="of a Parquet file: where a task's probability and label are (default: score/TASK, "
        "logit/TASK or TASK@SPACE, and label/TASK, or TASK or the model's column)",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        default="",
        help="of a Parquet file: the column of the groups for GAUC and intervals; none: rows are "
        "independent (default: that of the model which scored them, else group)",
    )
    parser.add_argument(
        "--weight",
        metavar="COLUMN",
        default="",
        help="of a Parquet file: the column that says how many rows each row stands for; none: one "
        "(default: that of the model which scored them, else sample_weight)",
    )
    parser.add_argument("--out", metavar="FOLDER", help="also writes Markdown, CSV and a picture")
    parser.add_argument(
        "--draws",
        type=int,
        default=DRAWS,
        help=f"exchanges of scores, for p and intervals (default {DRAWS})",
    )
    known = parser.parse_args(list(arguments))
    if not 100 <= known.draws <= 100_000:
        raise UserError(f"--draws: expected 100 to 100000, got {known.draws}")
    return known


def sides(a: str, b: str, columns: Columns) -> tuple[list[ScoredRows], list[ScoredRows]]:
    """The scored rows of both sides, runs first: their schema says what is in a file."""
    read: dict[str, list[ScoredRows]] = {}
    schema: Schema | None = None
    for text in (a, b):
        paths = [pathlib.Path(part).expanduser() for part in _parts(text)]
        if all(path.is_dir() for path in paths):
            found = [of_run(folder) for path in paths for folder in runs_in(path)]
            read[text], schema = [run for run, _ in found], found[0][1]
    for text in (a, b):
        if text not in read:
            read[text] = [_file(part, schema, columns) for part in _parts(text)]
        check_one_model(read[text])
    return list(read[a]), list(read[b])


def _parts(text: str) -> list[str]:
    """A path, or several by comma; a comma may be part of a name that is there."""
    if text and pathlib.Path(text).expanduser().exists():
        return [text]
    found = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        if not pathlib.Path(part).expanduser().exists():
            raise UserError(f"{part} is not there; expected a run's workdir or a Parquet file")
    if not found:
        raise UserError("expected two runs: RUN_A RUN_B. See --help.")
    return found


def _file(part: str, schema: Schema | None, columns: Columns) -> ScoredRows:
    path = pathlib.Path(part).expanduser()
    return of_run(path)[0] if path.is_dir() else score_files.of_file(path, schema, columns)
