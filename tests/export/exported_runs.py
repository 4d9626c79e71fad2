"""A small finished run and its model."""

import pathlib

import pytest
from small_runs import small

from dtn_jax.export.write import export_run
from dtn_jax.train import train


def finished(prepared_dir: str, folder: pathlib.Path, **changes) -> pathlib.Path:
    """The workdir of a run of 45 steps on adult: see small_runs.py."""
    with pytest.MonkeyPatch.context() as patch:  # to draw a run takes as long as to train it
        patch.setattr("dtn_jax.report.plots._save", lambda figure, path: None)
        train(small(prepared_dir, **changes), folder)
    return folder


def exported(workdir: pathlib.Path) -> pathlib.Path:
    return export_run([workdir], workdir.parent / "model")
