"""The virtual environment of the other frameworks, which nothing else here needs."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tomllib
from collections.abc import Sequence

from dtn_jax.errors import UserError
from experiments.benchmarks.racers import ROOT


def install(venv: pathlib.Path) -> tuple[str, dict[str, str]]:
    """The venv's Python, with the packages of the extra `peers`; and why some are not there.

    Each is installed alone, so that one that can't be leaves the others. pip's own settings say
    where from, and so which build of torch.
    """
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        problem = failure([sys.executable, "-m", "venv", str(venv)])
        if problem:
            raise UserError(f"no virtual environment for the peers in {venv}: {problem}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = {}
    for requirement in project["optional-dependencies"]["peers"]:
        problem = failure([str(python), "-m", "pip", "install", "--quiet", requirement])
        if problem:
            missing[requirement.partition("=")[0].rstrip("<>~")] = problem
    return str(python), missing


def failure(command: Sequence[str]) -> str:
    """Runs a command; '' where it worked, else the last line of what it said."""
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    said = ended.stderr.strip().split("\n")[-1]
    return (said or f"exit code {ended.returncode}") if ended.returncode else ""
