"""Finished runs that several test modules look at, trained once; they name it a plug-in."""

import pytest
from command_calls import ROOT, TINY

from experiments import train


@pytest.fixture(scope="session")
def finished_run(prepared_dir, tmp_path_factory):
    """The folder of a finished run of TINY; no test may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("DTN_DATA_DIR", prepared_dir)
        workdir = tmp_path_factory.mktemp("finished") / "run"
        train.main([TINY, f"--workdir={workdir}"])
    return workdir
