"""Trains and evaluates a model; writes results, predictions, plots and checkpoints to --workdir."""

from __future__ import annotations

from collections.abc import Sequence

from dtn_jax.errors import UserError
from dtn_jax.replicas import train_replicas
from dtn_jax.train import train

from . import command, compile_cache

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "python -m experiments.train --config=configs/adult.py:dtn --workdir=runs/adult_dtn"


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    command.add_config(parser)
    compile_cache.add_option(parser)
    known, rest = parser.parse_known_args(arguments)
    config = command.read_config(known.config, rest)
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder for the run's files")
    compile_cache.use(known.cache_dir)
    if config.replicas:
        train_replicas(config, known.workdir)
    else:
        train(config, known.workdir)


if __name__ == "__main__":
    command.run(main, RESUMES)
