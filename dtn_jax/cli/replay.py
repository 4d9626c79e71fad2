"""Shows where a step of a run became NaN or infinite: the first layer, loss or parameter.

A run that meets a loss or gradient which is not finite ends, and writes the batch of that step.
This command makes the state before it from the last checkpoint, and computes the step on that batch
operation by operation, on one device; it changes nothing in the run's folder.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command, compile_cache

EXAMPLE = "dtn-jax replay --batch=runs/adult_dtn/nonfinite/step-57.npz"


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    command.add(parser, {"batch=FILE": "the step's file, in its run's workdir"})
    command.add_shared(parser, *command.DATA, "cache_dir")
    known = parser.parse_args(arguments)
    command.require(known, "batch")
    compile_cache.use(known.cache_dir)
    from dtn_jax.analysis.replay import replay  # after --help

    path = pathlib.Path(known.batch).expanduser().absolute()
    replay(path, known.plugins, known.data_dir, known.manual_dir)
