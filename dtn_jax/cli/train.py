"""Trains and evaluates a model; writes results, predictions, plots and checkpoints to --workdir."""

from __future__ import annotations

from collections.abc import Sequence

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.errors import UserError

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "dtn-jax train --config=configs/adult.py:dtn --workdir=runs/adult_dtn"


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    command.add_config(parser)
    compile_cache.add_option(parser)
    parser.add_argument(
        "--profile",
        metavar="STEPS",
        type=int,
        default=0,
        help="record a trace of this many steps, once the program is compiled, in the workdir's "
        "folder profile, and print the ten heaviest operations",
    )
    known, rest = parser.parse_known_args(arguments)
    rest += command.forced(known)
    config = command.read_config(known.config, rest)
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder for the run's files")
    folders.check(known.workdir, "workdir")
    if known.profile < 0:
        raise UserError(f"--profile={known.profile}: expected a number of steps, at least 1")
    if known.profile and config.replicas:
        raise UserError("--profile records one run: leave config.replicas out")
    command.tell_unused([config], [key for key, _ in command.overrides(rest)])
    compile_cache.use(known.cache_dir)
    from dtn_jax.replicas import train_replicas  # after --help
    from dtn_jax.train import train

    if config.replicas:
        train_replicas(config, known.workdir)
    else:
        train(config, known.workdir, profile=known.profile)
