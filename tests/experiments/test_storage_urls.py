"""No password of a storage's URL is shown, wherever it stands."""

import pathlib

import pytest

from dtn_jax.errors import UserError
from experiments.search import storage_urls, trial_storage
from experiments.search.budget import Budget, make_pruner


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
        ("nonsense", "nonsense"),
    ],
)
def test_what_is_shown_of_a_url(url, shown):
    assert storage_urls.shown(url) == shown


def test_a_password_with_an_at_sign_in_a_query():
    assert "SECRET" not in storage_urls.shown("postgresql://host/db?password=SECRET@x")


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
