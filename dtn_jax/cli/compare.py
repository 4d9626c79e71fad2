"""Compares two models on the same test rows: which is better, by how much, is it real.

RUN_A and RUN_B are workdirs of finished runs, several seeds of one model by comma, or a Parquet
file of scores with labels: of `score --labels`, or of another system. Their rows are matched and
their labels must be equal. AUC, log loss, normalised entropy and calibration (ECE,
predicted/observed) of each task in each space, with groups GAUC, NDCG, MRR and recall too, XAUC and
RMSE of regressions; each with B − A, its 95 % interval and a p-value.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from dtn_jax.cli import command

EXAMPLE = "dtn-jax compare runs/mmoe runs/dtn --out=runs/mmoe_or_dtn"
OPTIONS = {
    "RUN_A": "a finished run's workdir, several seeds by comma, or a Parquet file",
    "RUN_B": "what is compared with it, in the same way",
    "key=COLUMN": "of a Parquet file: which row it is; beside a run the number of the row in test, "
    "from 0 on, as in its predictions.parquet",
    "columns=NAMES": "of a Parquet file: TASK=SCORE:LABEL,..., where a task's probability and "
    "label are (default: score/TASK, logit/TASK or TASK@SPACE, and label/TASK or TASK)",
    "group=COLUMN": "of a Parquet file: the groups for GAUC and intervals; none: rows are "
    "independent (default: group)",
    "weight=COLUMN": "of a Parquet file: how many rows each row stands for; none: one (default: "
    "sample_weight)",
    "out=DIR": "also writes Markdown and CSV into this folder",
    "draws=N": "exchanges of scores, for p and intervals",
}
DEFAULTS = {"key": "row", "draws": command.constant("metrics.significance", "DRAWS")}
SHARED = ("plugins",)
RANGES = {"draws": (100, 100_000)}
EXISTING = dict.fromkeys(("RUN_A", "RUN_B"), "a run's workdir or a Parquet file")


def main(arguments: Sequence[str]) -> None:
    known, sides = compared(arguments)
    from dtn_jax.comparison.pages import show  # after --help

    show(*sides, known.out)


def compared(arguments: Sequence[str]) -> tuple[argparse.Namespace, tuple[list, list, list]]:
    """What is given, and: the rows of both sides, in one order, and the differences."""
    known, _ = command.parse(__name__, arguments)
    command.check_finished(f"{known.RUN_A},{known.RUN_B}")
    from dtn_jax.comparison.differences import compared
    from dtn_jax.comparison.scored_rows import Columns, read_columns

    columns = Columns(known.key, known.group, known.weight, read_columns(known.columns))
    return known, compared(known.RUN_A, known.RUN_B, columns, known.draws, known.plugins)
