"""Calls of `python -m experiments.train` in this process, and what they must not change."""

import dataclasses
import hashlib
import pathlib
import sys

import pytest

from experiments import command, train

ROOT = pathlib.Path(__file__).parents[2]
TINY = (
    "--config=configs/adult.py:shared_bottom,model.experts=mlp,model.mlp.hidden=4,"
    "model.expert_dim=4,model.tower_hidden=4,model.embedding_dim=4,train.max_steps=2,"
    "parallel.devices=1"
)


@pytest.fixture(autouse=True)
def in_the_repository(prepared_dir, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DTN_DATA_DIR", prepared_dir)


@pytest.fixture
def finished(finished_tiny_run):
    """The folder of a finished run of TINY; no test may change it."""
    return finished_tiny_run


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def shell(capsys, monkeypatch):
    """Calls `python -m experiments.train` with arguments, in this process."""

    def call(*arguments, resumes=True):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            command.run(train.main, resumes)
        except SystemExit as end:
            code = end.code
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(shell, finished, tmp_path):
    """Calls the command on a finished run's folder and on a new one; returns the message.

    The one stays as it was, to the byte, and the other is not made.
    """

    def call(*arguments):
        before = contents(finished)
        outcome = shell(*arguments, f"--workdir={finished}")
        assert contents(finished) == before
        new = shell(*arguments, f"--workdir={tmp_path / 'new'}")
        assert not (tmp_path / "new").exists()
        assert message_of(new) == message_of(outcome)
        return message_of(new)

    return call


def message_of(outcome) -> str:
    """What is said, when that is one message and nothing else."""
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("error: ") == 1
    return outcome.err[len("error: ") : -1]


def contents(folder) -> dict[str, str]:
    """{path: SHA-256 of its bytes}, folders included."""
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in [folder, *folder.rglob("*")]
    }


def one_line(message) -> str:
    assert "\n" not in message
    return message
