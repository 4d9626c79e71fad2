"""Calls of commands in this process, and a finished run, trained once. Test modules name it a
plug-in."""

import json
import shutil
import sys

import pytest
from command_calls import ROOT, WATCHED, Outcome, contents, message_of

from dtn_jax.cli import command, feature_importance, train
from dtn_jax.data.prepared import Prepared


@pytest.fixture
def in_the_repository(prepared_dir, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DTN_DATA_DIR", prepared_dir)


@pytest.fixture(scope="session")
def finished(prepared_dir, tmp_path_factory):
    """The folder of a finished, watched run of WATCHED; no test may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("DTN_DATA_DIR", prepared_dir)
        workdir = tmp_path_factory.mktemp("finished") / "adult_mmoe"
        train.main([WATCHED, f"--workdir={workdir}"])
    return workdir


@pytest.fixture(scope="session")
def explained(finished, tmp_path_factory):
    """A copy of it with what feature_importance left, what that is, and the splits it opened."""
    workdir = tmp_path_factory.mktemp("explained") / "adult_mmoe"
    shutil.copytree(finished, workdir)
    opened, source = [], Prepared.source

    def note(self, split):
        opened.append(split)
        return source(self, split)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(Prepared, "source", note)
        feature_importance.main([f"--workdir={workdir}", "--repeats=2", "--rows=10000"])
    return workdir, json.loads((workdir / "importance/importance.json").read_text()), opened


@pytest.fixture
def shell(capsys, monkeypatch, in_the_repository):
    """Calls `dtn-jax train` with arguments, in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            command.run(train.main)
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
