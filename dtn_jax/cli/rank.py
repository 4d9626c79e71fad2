"""Finds one ranking score of a run's tasks: on its validation rows, without training.

The score is a product of the tasks' calibrated predictions, each to a power of its own, such as
click**0.3 * order. Powers are searched for the highest GAUC of a gain (AUC, where the data have no
groups): one task, or a sum such as --gain='click + 5*order'. Test is read once: GAUC, NDCG@k and
recall@k of the score for the gain and for each task, beside equal powers, with 95 % intervals. It
is written to WORKDIR/rank.json, which dtn-jax export --rank=WORKDIR/rank.json takes.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.errors import UserError

EXAMPLE = "dtn-jax rank --workdir=runs/kuairand_dtn --gain=long_view"
OPTIONS = {
    "workdir=DIR": "the folder of a finished run",
    "gain=TASKS": "what a row is worth: a task, or an expression of tasks' labels, 0 or more",
    "objective=METRIC": "of the gain, to be the highest: gauc, ndcg_at_10 or auc (default: gauc "
    "where the data have groups, else auc)",
    "replace": "replace the rank.json that is there",
}
RANK_FILE = command.constant("export.ranking", "RANK_FILE")
NEEDED = ("workdir", "gain")
EXISTING = {"workdir": command.RUN}


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    place = pathlib.Path(known.workdir, RANK_FILE)
    if place.exists() and not known.replace:
        raise UserError(f"{place} is there: --replace searches anew")
    command.check_finished(known.workdir)
    from dtn_jax.comparison.rank_search import find  # after --help

    find(known.workdir, known.gain, known.objective)
