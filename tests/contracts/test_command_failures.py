"""Runs that are interrupted or fail by a mistake, and outputs that can be nowhere: what is said."""

import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
from command_calls import ROOT, TINY, contents, message_of, one_line

from dtn_jax.cli import command, compare, export, paper_tables, prepare, train
from dtn_jax.errors import UserError
from dtn_jax.search import studies
from dtn_jax.search.studies import Budget

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


SLIPS = """
import sys
from dtn_jax.cli import compare, export, prepare, train
from dtn_jax.errors import UserError

for main, *arguments in (
    (train.main, "--config=configs/adult.py:dtn", "--workdr=runs/x"),
    (train.main, "--config=configs/adlt.py:dtn"),
    (train.main, "--config=configs/adult.py:dtn", "--profile=-1"),
    (train.main, "--schema=missing.yaml", "--model=dtn"),
    (prepare.main, "--schema=missing.yaml", "--input=log.csv"),
    (prepare.main, "--infer", "--input=missing.csv", "--out=shop.yaml"),
    (export.main, "--workdir=runs/gone", "--out=models/x"),
    (compare.main, "runs/gone", "runs/b"),
):
    try:
        main(arguments)
    except UserError as error:
        print(error)
    slow = {"jax", "flax", "tensorflow_datasets", "optax", "matplotlib"} & sys.modules.keys()
    assert not slow, (arguments, slow)
"""


def test_a_slip_is_answered_before_jax_is_imported():
    call = [sys.executable, "-c", SLIPS]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    told = ("Did you mean --workdir", "no config file 'configs/adlt.py'", "expected at least 1")
    told += (
        ("no schema file 'missing.yaml'",) * 2 + ("missing.csv",) + ("runs/gone is not there",) * 2
    )
    assert len(said) == len(told)
    assert all(words in line for words, line in zip(told, said))


def test_an_interrupted_run_says_how_it_goes_on(shell, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "main", interrupt)
    monkeypatch.setattr(command.os, "_exit", sys.exit)
    outcome = shell()
    assert outcome.code == 130
    more = "the same command goes on from what was saved, if anything was"
    assert outcome.err == f"interrupted; {more}\n"


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


# Places of outputs that can be none, and storages of searches: told before any work.


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty folder, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (export.main, ("--workdir=.",)),
        (compare.main, ("a", "b")),
        (prepare.main, ("--infer", "--input=a.csv")),
    ],
)
def test_a_url(nowhere, call, arguments):
    with pytest.raises(UserError, match=r"s3://b/x is a URL, expected a f.* of this machine"):
        call([*arguments, "--out=s3://b/x"])


def test_a_file_in_place_of_the_folder(tmp_path):
    place = tmp_path / "importance"
    place.write_text("")
    with pytest.raises(UserError, match=f"workdir {place}: {place} is a file, expected a folder"):
        paper_tables.main(["--dataset=adult", "--table=overall", f"--workdir={place}"])
    with pytest.raises(UserError, match=f"--out {place}: {place} is a file, expected a folder"):
        export.main([f"--workdir={tmp_path}", f"--out={place}"])
    with pytest.raises(UserError, match=f"--out {place}: {place} is a file, expected a folder"):
        compare.main(["a", "b", f"--out={place}"])


def test_no_message_about_a_storage_shows_its_password():
    for url in ("postgresql://user:SECRET@127.0.0.1:1/db", "nothing://user:SECRET@host/db"):
        opened = studies.opened(url, "study", Budget().make_pruner(), True)
        with pytest.raises(UserError) as caught, opened:
            pass
        assert "SECRET" not in str(caught.value)
    assert studies.shown_url("postgresql://u:SECRET@host/db") == "postgresql://u:***@host/db"


def test_a_files_url_is_read_back():
    for path in ("/a b/c?d=e/f%41#g.db", "/x{y}/[/z]:@.db"):
        url = studies.url_of_file(pathlib.Path(path))
        assert studies.make_url(url).database == path


def test_what_tensorstore_ignores_is_not_shown(monkeypatch):
    """Its threads ignore an error for each array that a full disk did not take."""
    shown = []
    monkeypatch.setattr(sys, "__unraisablehook__", shown.append)
    texts = ("Event loop is closed", "another")
    every = [SimpleNamespace(exc_type=RuntimeError, exc_value=RuntimeError(t)) for t in texts]
    for lost in every:
        command.end_or_show(lost)
    assert shown == every[1:]


UNREAD = """
import asyncio
from dtn_jax.cli import command
from dtn_jax.errors import UserError

def main(arguments):
    for error in (OSError(28, "No space left on device"), ValueError("another")):
        asyncio.Future(loop=asyncio.new_event_loop()).set_exception(error)
    raise UserError("the disk is full")

command.run(main)
"""


def test_what_the_disk_did_to_files_of_orbax_is_not_shown_after_an_error():
    """Its writers leave what they raise to nobody, where a command ends while they work."""
    call = [sys.executable, "-c", UNREAD]
    said = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False).stderr
    assert "error: the disk is full" in said
    assert "ValueError: another" in said
    assert "No space left" not in said
