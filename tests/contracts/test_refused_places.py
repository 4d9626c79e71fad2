"""Places of outputs that can be none, and storages of searches: told before any work."""

import pathlib

import pytest

from dtn_jax.cli import compare, export, feature_importance, paper_tables, prepare
from dtn_jax.errors import UserError
from dtn_jax.search import storage_urls, trial_storage
from dtn_jax.search.budget import Budget, make_pruner


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
    with pytest.raises(UserError, match=r"--out s3://b/x is a URL, expected a f.* of this machine"):
        call([*arguments, "--out=s3://b/x"])


def test_a_file_in_place_of_the_folder(tmp_path):
    place = tmp_path / "importance"
    place.write_text("")
    with pytest.raises(UserError, match=f"{place} is a file, expected a folder"):
        feature_importance.main([f"--workdir={tmp_path}"])
    with pytest.raises(UserError, match=f"workdir {place} is a file, expected a folder"):
        paper_tables.main(["--dataset=adult", "--table=overall", f"--workdir={place}"])
    with pytest.raises(UserError, match=f"--out {place} is a file, expected a folder"):
        export.main(["--workdir=run", f"--out={place}"])
    with pytest.raises(UserError, match=f"--out {place} is a file, expected a folder"):
        compare.main(["a", "b", f"--out={place}"])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:SECRET@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:SECRET@SECRET@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:SECRET/SECRET@host:5/db", "postgresql://user:***@host:5/db"),
        (
            "postgresql://host/db?password=SECRET&user=x",
            "postgresql://host/db?password=***&user=***",
        ),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("journal:redis://:SECRET@host/x", "journal:redis://:***@host/x"),
        ("journal:/runs/j", "journal:/runs/j"),
        ("sqlite:////runs/a%3Fb/sweep.db", "sqlite:////runs/a?b/sweep.db"),
        ("postgresql://host/db?password=SECRET@x", "postgresql://***@x"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_is_shown_of_a_url(url, shown):
    assert storage_urls.shown(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:SEC@RET@127.0.0.1:1/db",
        "journal:redis://:SEC@RET@127.0.0.1/x",
        "nothing://user:SEC@RET@host/db",
    ],
)
def test_no_message_shows_it(url):
    with pytest.raises(UserError) as caught:
        trial_storage.create_study(url, "study", make_pruner(Budget(1, "tpe", "none", 0, {})))
    assert "SEC" not in str(caught.value)
    assert "RET" not in str(caught.value)


def test_a_file_s_url_is_read_back():
    for path in ("/a b/c?d=e/f%41#g.db", "/x{y}/[/z]:@.db"):
        url = storage_urls.of_file(pathlib.Path(path))
        assert storage_urls.make_url(url).database == path
        assert storage_urls.shown(url) == f"sqlite:///{path}" or "@" in path
