"""A small finished run on adult, and the model that it exports."""

import pathlib

import pytest
import quicker
from matplotlib.figure import Figure
from small_runs import small

from dtn_jax.export.write import export_run
from dtn_jax.train import train


def finished(prepared_dir: str, folder: pathlib.Path, **changes) -> pathlib.Path:
    """The workdir of a run of 45 steps on adult: see small_runs.py."""
    with pytest.MonkeyPatch.context() as patch:  # to draw a run takes as long as to train it
        patch.setattr(Figure, "savefig", quicker.save_pixel)
        train(small(prepared_dir, **changes), folder)
    return folder


def exported(workdir: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    return export_run([workdir], folder)
