"""Shows where a step of a run became NaN or infinite: the first layer, loss or parameter.

A run that meets a loss or gradient which is not finite ends, and writes the batch of that step.
This command makes the state before it from the last checkpoint, and computes the step on that batch
operation by operation, on one device; it changes nothing in the run's folder.
"""

from __future__ import annotations

from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.places import full_path

EXAMPLE = "dtn-jax replay --batch=runs/adult_dtn/nonfinite/step-57.npz"
OPTIONS = {"batch=FILE": "the step's file, in its run's workdir: nonfinite/step-N.npz"}
SHARED = (*command.DATA, "cache_dir")
NEEDED = ("batch",)


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    from dtn_jax.analysis.replay import replay  # after --help

    replay(full_path(known.batch), known.plugins, known.data_dir, known.manual_dir)
