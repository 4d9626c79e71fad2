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
from dtn_jax.comparison import differences, pages, score_files
from dtn_jax.comparison.differences import Difference
from dtn_jax.comparison.score_files import Columns
from dtn_jax.comparison.scored_rows import ScoredRows, check_one_model, of_run
from dtn_jax.errors import UserError
from dtn_jax.metrics.significance import DRAWS
from dtn_jax.report import screen
from dtn_jax.schema import Schema
from dtn_jax.workdir.found import runs_in

EXAMPLE = "dtn-jax compare runs/mmoe runs/dtn --out=runs/mmoe_or_dtn"
OPTIONS = {
    "key": "of a Parquet file: the column that says which row it is; beside a run the number of "
    "the row in test, from 0 on, as in its predictions.parquet (default: row)",
    "columns": "of a Parquet file: TASK=SCORE:LABEL,..., where a task's probability and label are "
    "(default: score/TASK, logit/TASK or TASK@SPACE, and label/TASK, TASK or the model's column)",
    "group": "of a Parquet file: the column of the groups for GAUC and intervals; none: rows are "
    "independent (default: that of the model which scored them, else group)",
    "weight": "of a Parquet file: the column that says how many rows each row stands for; none: "
    "one (default: that of the model which scored them, else sample_weight)",
    "out": "also writes Markdown, CSV and a picture into this folder",
}


def main(arguments: Sequence[str]) -> None:
    known = parse(arguments)
    a, b, found = compared(known)
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
    print("\n".join([f"\n{len(a[0].key):,} test rows.", *lines, "", *more]))
    if known.out:
        folder = pathlib.Path(known.out).expanduser().absolute()
        title = f"A: {names[0]}   B: {names[1]}"
        try:
            pages.write(folder, found, title, [*lines, *more], best)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
        print(f"compare.md, compare.csv and differences.png are in {folder}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.parser(__doc__, EXAMPLE)
    help_ = "a finished run's workdir, several seeds by comma, or a Parquet file"
    parser.add_argument("a", metavar="RUN_A", help=help_)
    parser.add_argument("b", metavar="RUN_B", help="what is compared with it, in the same way")
    for name, text in OPTIONS.items():
        default = "row" if name == "key" else ""
        parser.add_argument(f"--{name}", default=default, help=text)
    draws = f"exchanges of scores, for p and intervals (default {DRAWS})"
    parser.add_argument("--draws", type=int, default=DRAWS, help=draws)
    known = parser.parse_args(list(arguments))
    if not 100 <= known.draws <= 100_000:
        raise UserError(f"--draws: expected 100 to 100000, got {known.draws}")
    if known.out:
        folders.check(known.out, "--out")
    return known


def compared(
    known: argparse.Namespace,
) -> tuple[list[ScoredRows], list[ScoredRows], list[Difference]]:
    """The rows of both sides, in one order, and the differences."""
    named = score_files.read_columns(known.columns)
    a, b = sides(known.a, known.b, Columns(known.key, known.group, known.weight, named))
    score_files.check([*a, *b], known.group, known.weight)
    differences.aligned(a, b)
    return a, b, differences.differences(a, b, known.draws)


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
