"""A disk that takes no more: one message, exit 2, and the same command goes on once it does.

The limit here is that of a file's length, which any user may set; a full disk fails in its place.
"""

import os
import subprocess
import sys

import pytest

from dtn_jax.datasets.preparation import catalog

pytestmark = pytest.mark.slow
CALL = [sys.executable, "-m"]
QUICK = ["--config=configs/adult.py:shared_bottom,quick", "--config.model.experts=mlp"]
QUICK += ["--config.train.max_steps=12", "--config.train.checkpoint_every=6"]


def run(folder, command, *options, most=None):
    """(exit code, what it said), with files of at most so many KiB."""
    limit = f"ulimit -f {most or 'unlimited'}; "
    done = subprocess.run(
        ["bash", "-c", limit + 'exec "$@"', "-", *CALL, f"experiments.{command}", *options],
        capture_output=True,
        text=True,
        env=os.environ | {"DTN_DATA_DIR": str(folder), "JAX_ENABLE_COMPILATION_CACHE": "0"},
    )
    return done.returncode, done.stdout + done.stderr


def test_training(prepared_dir, tmp_path):
    """A run that finds the disk full at its start and again later, and then goes on."""
    given = [*QUICK, f"--workdir={tmp_path / 'run'}"]
    catalog.load("adult", data_dir=prepared_dir)
    for most in (1, 60):
        code, said = run(prepared_dir, "train", *given, most=most)
        assert code == 2, said
        assert "Traceback" not in said
        assert "File too large; " in said
        assert str(tmp_path / "run") in said.splitlines()[-1]
        assert not list((tmp_path / "run").glob("*.tmp"))
    code, said = run(prepared_dir, "train", *given)
    assert code == 0, said


def test_preparing(tmp_path):
    code, said = run(tmp_path, "prepare", "--dataset=adult", most=20)
    assert code == 2, said
    assert "Traceback" not in said
    assert "adult cannot be prepared in" in said
    assert not list((tmp_path / "adult").glob("incomplete*"))
    assert run(tmp_path, "prepare", "--dataset=adult")[0] == 0
