"""Places of outputs that can be none, and storages of searches: told before any work."""

import pathlib

import pytest

from dtn_jax.cli import compare, export, paper_tables, prepare
from dtn_jax.errors import UserError
from dtn_jax.search import studies
from dtn_jax.search.studies import Budget


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty folder, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (export.main, ("--workdir=run",)),
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
        export.main(["--workdir=run", f"--out={place}"])
    with pytest.raises(UserError, match=f"--out {place}: {place} is a file, expected a folder"):
        compare.main(["a", "b", f"--out={place}"])


def test_a_workdir_that_checkpoints_cannot_have_is_refused_before_anything_is_made(tmp_path):
    place = tmp_path / "a[1]"
    with pytest.raises(UserError, match=r"has one of \* \? \[ \] in it"):
        paper_tables.main(["--dataset=adult", "--table=overall", f"--workdir={place}"])
    assert not place.exists()


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
