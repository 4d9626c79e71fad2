"""Trains and evaluates a model; writes results, predictions, plots and checkpoints to --workdir.

The same command resumes an interrupted run, and shows a finished one. SIGTERM and Ctrl-C end a run
after the steps in flight, which are saved: the exit code is 143 or 130. A second Ctrl-C ends it at
once.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.errors import UserError
from dtn_jax.report import screen

EXAMPLE = "dtn-jax train --config=configs/adult.py:dtn --workdir=runs/adult_dtn"
OPTIONS = {
    "workdir=DIR": "the run's folder: a new one, or that of an interrupted run, which then resumes "
    "(default: runs/DATASET_MODEL)",
    "profile=STEPS": "record a trace of this many steps, once the program is compiled, in the "
    "workdir's folder profile",
}
CONFIG = True
SHARED = (*command.DATA, "cache_dir", "force")
DEFAULTS = {"profile": 0}
RANGES = {"profile": command.POSITIVE}


def main(arguments: Sequence[str]) -> None:
    known, rest = command.parse(__name__, arguments)
    config = command.read_config(known.config, rest)
    from dtn_jax.data.schemas.named_schema import parted  # after --help
    from dtn_jax.run.replicas import train_replicas
    from dtn_jax.run.train import train

    name, workdir = config.data.dataset, known.workdir
    if name == "logs" and config.data.options:
        name = parted(config.data.options.partition("=")[2])[0].stem
    if known.profile and config.replicas:
        raise UserError("--profile records one run: leave config.replicas out")
    if not workdir:
        workdir = str(pathlib.Path("runs", f"{name}_{config.model.architecture}"))
        screen.say(f"workdir: {workdir}")
    command.tell_unused(config, rest)
    if config.replicas:
        train_replicas(config, workdir, preemptible=True)
    else:
        train(config, workdir, profile=known.profile, preemptible=True)
