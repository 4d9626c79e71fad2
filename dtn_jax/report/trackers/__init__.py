"""Where a run's numbers go beside its folder: trackers, one a file, and the option that names them.

A tracker has three methods, and is made when a run begins or goes on:

    Tracker(folder, config, step)    the run's workdir, its flat config, the steps that are done
    log(record)                      a record of metrics.jsonl: kind, step, epoch and numbers
    finish(results, files)           results.json, and the files that are worth keeping
    close()

The run's folder is the truth: a tracker that fails warns once, and the run goes on without it. A
new tracker is a file here and a line in TRACKERS.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from dtn_jax.errors import UserError, choose
from dtn_jax.options import option
from dtn_jax.report.trackers.background import Background
from dtn_jax.report.trackers.mlflow import MLflow
from dtn_jax.report.trackers.tensorboard import TensorBoard
from dtn_jax.report.trackers.wandb import WandB


class Kind(NamedTuple):
    """A tracker: who makes it, the package that it needs, and whether it may have to wait."""

    make: type
    package: str
    waits: bool


TRACKERS = {
    "tensorboard": Kind(TensorBoard, "tensorboardX", False),
    "mlflow": Kind(MLflow, "mlflow", True),
    "wandb": Kind(WandB, "wandb", True),
}


@dataclasses.dataclass(frozen=True)
class TrackerOptions:
    """Section `train`: trackers."""

    trackers: str = option(
        "tensorboard",
        "where numbers go beside the folder, by comma: tensorboard, mlflow, wandb; both of these "
        "write below the workdir, unless their own variables (MLFLOW_TRACKING_URI, WANDB_MODE) "
        "name a server; empty is nowhere",
        runtime=True,
    )


def read_trackers(text: str) -> list[str]:
    """The names in `train.trackers`.

    Raises:
      UserError: an unknown one, or one whose package is not installed; names the extra.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        choose("tracker in train.trackers", name, TRACKERS)
        if importlib.util.find_spec(TRACKERS[name].package) is None:
            raise UserError(
                f"train.trackers={name} needs the package {TRACKERS[name].package}, which is not "
                f"installed: pip install -e '.[{name}]'"
            )
    return names


def started(text: str, folder: pathlib.Path, config: Mapping, step: int) -> list[Background]:
    """The trackers that `train.trackers` names, for a run that has done `step` steps."""
    return [
        Background(name, TRACKERS[name].make, TRACKERS[name].waits, folder, config, step)
        for name in read_trackers(text)
    ]
