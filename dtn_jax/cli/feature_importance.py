"""Explains how a finished run's model ranks; writes JSON, CSV and pictures to WORKDIR/importance.

It shows the importance of each field for each task, by two methods (dtn_jax/analysis/
importance.py defines them), and how far the tasks diverge in that; how gates use the experts, by
user segment, and over training if the run had analysis.rows; whether the tasks' gradients
conflict; and the strongest field pairs in GDCN's layers.

It reads validation rows. --split=test reads test rows, to explain a finished run; do not choose
anything by what you see there.
"""

from __future__ import annotations

from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.places import full_path

EXAMPLE = "dtn-jax feature_importance --workdir=runs/adult_dtn"
RANGES = {"repeats": (1, 10_000), "rows": (1, 2**31 - 1), "seed": (0, 2**63 - 1)}
OPTIONS = {
    "workdir=DIR": "the folder of a finished run",
    "split=NAME": "which rows to read: validation, test or train",
    "methods=NAMES": "how to measure importance, by comma",
    "repeats=N": "permutations of each field",
    "rows=N": "draw a random sample of this many rows if there are more",
    "segment=FIELD": "what splits gate use into segments: a categorical field, or group",
    "seed=N": "of the sample and the permutations (default 0)",
}
METHODS = command.constant("analysis.importance", "METHODS")
USUAL = ("split", "repeats", "rows", "seed")
DEFAULTS = {name: command.constant("analysis.explain", name) for name in USUAL}
DEFAULTS["methods"] = ",".join(METHODS)
SHARED = (*command.DATA, "cache_dir", "force")
NEEDED = ("workdir", "methods")
CHOICES = {"methods": METHODS}
EXISTING = {"workdir": f"{command.RUN}, or of a replica"}


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    from dtn_jax.analysis.explain import Settings, config_of, explain_run, show  # after --help

    methods = tuple(dict.fromkeys(command.listed(known.methods)))
    names = ("split", "repeats", "rows", "segment", "seed")
    settings = Settings(methods=methods, **{name: getattr(known, name) for name in names})
    workdir = full_path(known.workdir)
    config = config_of(
        workdir, known.plugins, known.data_dir, known.manual_dir, check_memory=not known.force
    )
    show(explain_run(config, workdir, settings), workdir)
