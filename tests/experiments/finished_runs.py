"""Finished runs that several test modules look at, trained once; they name it a plug-in."""

import json
import shutil

import pytest
import quicker
import watched_runs
from command_calls import ROOT, TINY
from matplotlib.figure import Figure

from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.train import train as trained
from experiments import feature_importance, train


@pytest.fixture(scope="session")
def finished_tiny_run(prepared_dir, tmp_path_factory):
    """The folder of a finished run of TINY; no test may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("DTN_DATA_DIR", prepared_dir)
        workdir = tmp_path_factory.mktemp("finished") / "run"
        train.main([TINY, f"--workdir={workdir}"])
    return workdir


@pytest.fixture(scope="session")
def watched_run(prepared_dir, tmp_path_factory):
    """The folder of a finished, watched run; no test may change it."""
    workdir = tmp_path_factory.mktemp("finished") / "adult_mmoe"
    results = trained(watched_runs.config(prepared_dir, analysis__rows=100), workdir, test=False)
    return workdir, results


@pytest.fixture(scope="session")
def explained_run(watched_run, tmp_path_factory):
    """A copy of it, with what the command left, and what that printed."""
    workdir = tmp_path_factory.mktemp("explained") / "adult_mmoe"
    shutil.copytree(watched_run[0], workdir)
    opened, source = [], Prepared.source
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)

        def note(self, split):
            opened.append(split)
            return source(self, split)

        patch.setattr(Prepared, "source", note)
        patch.setattr(Figure, "savefig", quicker.DRAW)  # whatever module is the first to ask
        feature_importance.main([f"--workdir={workdir}", "--repeats=2", "--rows=10000"])
    return workdir, json.loads((workdir / "importance/importance.json").read_text()), opened
