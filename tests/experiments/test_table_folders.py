"""Damage in a folder of tables: what is there is found all the same, what is in the way is told."""

import re

import pytest

from dtn_jax import shared_files
from dtn_jax.errors import UserError
from experiments import paper_tables

pytest_plugins = ["table_fixtures"]

ONE = "--entries=shared_bottom"


def said(error: Exception) -> str:
    """What a command says of it."""
    return shared_files.told(error) if isinstance(error, OSError) else str(error)


def a_file(locks, precious):
    for lock in locks.iterdir():
        lock.unlink()
    locks.rmdir()
    locks.write_text("")


def folders(locks, precious):
    for lock in locks.iterdir():
        lock.unlink()
        lock.mkdir()


def links(locks, precious):
    for lock in locks.iterdir():
        lock.unlink()
        lock.symlink_to(precious)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (a_file, "locks: File exists; a file stands where a folder is expected: move it away"),
        (folders, r"pack\.lock: Is a directory; a folder stands where a file is expected"),
        (links, r"pack\.lock: .*; a link stands where a file or a folder is expected: delete"),
    ],
)
def test_locks(call, untrained, tmp_path, harm, told):
    whole, precious = call(ONE, "--seeds=1"), tmp_path / "precious"
    precious.write_text("precious")
    harm(tmp_path / "adult/locks", precious)
    assert call(ONE, "--seeds=1")["rows"] == whole["rows"]  # nothing is locked that is done
    with pytest.raises((UserError, OSError)) as caught:
        call(ONE, "--seeds=2")
    assert re.search(told, said(caught.value))
    assert precious.read_text() == "precious"
    (tmp_path / "adult/locks").rename(tmp_path / "away")
    assert call(ONE, "--seeds=2")["rows"][0]["seeds"] == [1, 2]


def test_a_name_is_neither_markup_nor_a_pattern(call, untrained, tmp_path, prepared_dir):
    call(ONE, "--seeds=1")  # which sets the protocol
    place = tmp_path / "p[1][/bold]"
    given = ("--dataset=adult", "--table=overall", "--seeds=1", ONE)
    paper_tables.main([*given, f"--data_dir={prepared_dir}", f"--workdir={place}"])
    assert (place / "adult/overall.md").read_text() == (tmp_path / "adult/overall.md").read_text()


@pytest.mark.parametrize("name", ["overall.json", "overall.md", "report.html"])
def test_a_folder_in_place_of_a_file(call, untrained, tmp_path, name):
    call(ONE, "--seeds=1")
    place = tmp_path / "adult" / name
    place.unlink()
    place.mkdir()
    with pytest.raises(OSError, match="Is a directory") as caught:
        call(ONE, "--seeds=1")
    assert said(caught.value).startswith(f"{place}: Is a directory; a folder stands where a file")
    assert not list(place.parent.glob("*.tmp"))


@pytest.mark.parametrize("text", ["[1]", "7", "null", '{"format": 0}'])
def test_what_is_no_table_is_not_in_the_report(call, untrained, tmp_path, text):
    call(ONE, "--seeds=1")
    report = tmp_path / "adult/report.html"
    before = report.read_text()
    (tmp_path / "adult/ablation.json").write_text(text)
    call(ONE, "--seeds=1")
    assert report.read_text() == before
