"""Runs that diverge, are interrupted, find no room or fail by a mistake: what is said and kept."""

import asyncio
import logging
import os
import re
import subprocess
import sys

import pytest
from command_calls import ROOT, TINY, contents, message_of, one_line

from dtn_jax.cli import command, quiet, train
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.run.checkpoint import Checkpoints

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


def test_a_diverging_run_names_steps_and_tasks_and_keeps_the_last_checkpoint(shell, tmp_path):
    """Tables that explode; the same command then goes on from the checkpoint, and fails again."""
    changes = (
        "model.experts=gdcn",  # of relu units, all might die instead
        "optim.tables=sgd",
        "optim.table_learning_rate=1e30",
        "train.checkpoint_every=1",
        "train.max_steps=20",
    )
    overrides = [f"--config.{o}" for o in changes]
    arguments = (TINY, f"--workdir={tmp_path / 'run'}", *overrides)
    message = one_line(message_of(shell(*arguments)))
    found = re.fullmatch(
        r"not finite at step (\d+): the loss of (income|never_married|income and never_married)\b"
        r".*\. The checkpoint of step (\d+) is kept\. The batch of this step is in "
        r".*/run/nonfinite/step-(\d+)\.npz; dtn-jax replay --batch=.* finds .*\. "
        r"Lower optim\.learning_rate .* gives NaN too",
        message,
    )
    assert found, message
    first = int(found[1])
    assert (int(found[3]), int(found[4])) == (first - 1, first)
    assert 1 < first < 20
    before = contents(tmp_path / "run/checkpoints")
    assert Checkpoints(tmp_path / "run").last.latest_step() == first - 1
    again = shell(*arguments)
    assert f"Resuming at step {first - 1} of 20" in again.out
    assert message_of(again) == message
    assert contents(tmp_path / "run/checkpoints") == before


def test_an_interrupted_run_says_how_it_goes_on(shell, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "main", interrupt)
    monkeypatch.setattr(command.os, "_exit", sys.exit)
    assert shell(resumes=False).err == "interrupted\n"
    outcome = shell()
    assert outcome.code == 130
    assert outcome.err == "interrupted; the same command resumes from the last checkpoint\n"


def test_an_interruption_that_python_ignores_comes_again():
    """As one that falls into a destructor does."""
    code = (
        "import sys, time\n"
        "from dtn_jax.cli import command\n"
        "class Dies:\n"
        "    def __del__(self):\n"
        "        raise KeyboardInterrupt\n"
        "def main(arguments):\n"
        "    Dies()\n"
        "    time.sleep(600)\n"
        "command.run(main)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=300)
    assert (ended.returncode, ended.stderr) == (130, b"interrupted\n")


def test_a_mistake_of_the_program_keeps_its_traceback(monkeypatch):
    """Only what the user can mend is shown as a plain message."""

    def divide(*_):
        return 1 / 0

    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(ZeroDivisionError):
        command.run(divide)


def test_debug_shows_where_it_failed(monkeypatch, tmp_path):
    arguments = [TINY, f"--workdir={tmp_path / 'new'}", "--config.model.dropout=2", "--debug"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(UserError, match=r"model.dropout=2.0: expected a number at least 0"):
        command.run(train.main)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_what_a_shell_sees(prepared_dir, finished):
    before = contents(finished)
    words = [sys.executable, "-m", "experiments.train", TINY, f"--workdir={finished}"]
    words.append("--config.model.experts=gdnc")
    plain, debug = (
        subprocess.run(
            [*words, *more],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        for more in ([], ["--debug"])
    )
    message = "unknown expert 'gdnc'. Did you mean 'gdcn'? The choices are: mlp, gdcn, "
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.startswith(f"error: {message}")
    assert plain.stderr.count("\n") == 1
    assert debug.returncode == 1
    assert debug.stderr.startswith("Traceback (most recent call last):")
    assert f"UserError: {message}" in debug.stderr
    assert contents(finished) == before


def test_a_place_that_cannot_be_written_is_named(shell, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")

    def write(*_):
        (tmp_path / "file" / "x").write_text("")

    monkeypatch.setattr(train, "main", write)
    monkeypatch.setattr(command.os, "_exit", sys.exit)
    message = one_line(message_of(shell(TINY, f"--workdir={tmp_path / 'run'}")))
    assert f"{tmp_path}/file/x: Not a directory; a file stands where" in message


QUICK = ["--config=configs/adult.py:shared_bottom,quick", "--config.model.experts=mlp"]


def limited(folder, command, *options, most=None):
    """(exit code, what it said), with files of at most so many KiB."""
    limit = f"ulimit -f {most or 'unlimited'}; "
    done = subprocess.run(
        [
            "bash",
            "-c",
            limit + 'exec "$@"',
            "-",
            sys.executable,
            "-m",
            f"experiments.{command}",
            *options,
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"DTN_DATA_DIR": str(folder), "JAX_ENABLE_COMPILATION_CACHE": "0"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_training_on_a_full_disk(prepared_dir, tmp_path):
    """A run that finds the disk full at its start and again later, and then goes on.

    The limit is that of a file's length, which any user may set; a full disk fails in its place.
    """
    given = [*QUICK, f"--workdir={tmp_path / 'run'}"]
    catalog.load("adult", data_dir=prepared_dir)
    for most in (1, 60):
        code, said = limited(prepared_dir, "train", *given, most=most)
        assert code == 2, said
        assert "Traceback" not in said
        assert "File too large; " in said
        assert str(tmp_path / "run") in said.splitlines()[-1]
        assert not list((tmp_path / "run").glob("*.tmp"))
    code, said = limited(prepared_dir, "train", *given)
    assert code == 0, said


@pytest.mark.nightly
def test_preparing_on_a_full_disk(tmp_path):
    code, said = limited(tmp_path, "prepare", "--dataset=adult", most=20)
    assert code == 2, said
    assert "Traceback" not in said
    assert "adult cannot be prepared in" in said
    assert not list((tmp_path / "adult").glob("incomplete*"))
    assert limited(tmp_path, "prepare", "--dataset=adult")[0] == 0


@pytest.fixture
def printed(monkeypatch):
    """The errors that came to the hook before."""
    found = []
    monkeypatch.setattr(sys, "excepthook", lambda *given: found.append(given[1]))
    monkeypatch.setattr(quiet.excepthook, "before", sys.excepthook)
    monkeypatch.setattr(logging.getLogger("absl"), "filters", [])
    quiet.listen()
    quiet.listen()  # a second command in one process
    return found


def raised(call, *arguments):
    with pytest.raises(RuntimeError) as caught:
        call(*arguments)
    return caught.value


def test_a_callback_after_the_end_of_its_loop(printed):
    loop = asyncio.new_event_loop()
    loop.close()
    late = raised(loop.call_soon_threadsafe, print)
    trace = late.__traceback__.tb_next.tb_next  # as where C++ called it
    sys.excepthook(RuntimeError, late, trace)
    assert late not in printed
    sys.excepthook(RuntimeError, late, late.__traceback__)  # a call of ours
    other = RuntimeError("Event loop is closed, they say")
    sys.excepthook(RuntimeError, other, None)
    assert [error for error in printed if error in (late, other)] == [late, other]


def test_a_write_that_nobody_awaits_is_left_out():
    async def async_serialize_from_host():
        raise ValueError("No space left on device")

    async def other():
        raise ValueError("something else")

    def line(coroutine):
        loop = asyncio.new_event_loop()
        task = loop.create_task(coroutine())
        loop.run_until_complete(asyncio.wait([task]))
        text = f"{quiet.LOST}\nfuture: {task!r}"
        task.exception()
        loop.close()
        return logging.LogRecord("asyncio", logging.ERROR, "", 0, text, None, None)

    assert not quiet.told(line(async_serialize_from_host))
    assert quiet.told(line(other))
