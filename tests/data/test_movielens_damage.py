"""MovieLens' files, damaged: the first wrong line of the file is named, and nothing is written."""

import pytest
import twins
from public_sets import load

from dtn_jax.datasets.public import movielens_files
from dtn_jax.errors import UserError

DAMAGE = [
    ("100k", "u.data", lambda rows: [*rows[:7], "12\t3\n", *rows[8:]], "line 8: 2 values"),
    ("100k", "u.data", lambda rows: [*rows[:7], "1\t3\tx\t9\n"], "line 8: rating is 'x'"),
    ("100k", "u.data", lambda rows: [], "holds no ratings"),
    (
        "100k",
        "u.item",
        lambda rows: [rows[0], rows[1][:20] + "\n"],
        "line 2: 9 values, expected 24",
    ),
    ("100k", "u.user", lambda rows: [*rows, rows[3]], "line 41: user 4 is there already"),
    ("1m", "ratings.dat", lambda rows: [*rows[:2], "1::2::3\n"], "line 3: 3 values, expected 4"),
    ("1m", "ratings.dat", lambda rows: [*rows, "1::999::3::9\n"], "movie 999 is not in"),
    ("1m", "users.dat", lambda rows: rows[1:], "line 1: user 1 is not in"),
    ("1m", "movies.dat", lambda rows: [], "is empty"),
    ("25m", "ratings.csv", lambda rows: rows[1:], "line 1: the header is '1,"),
    ("25m", "movies.csv", lambda rows: ["movie,title\n"], "expected 'movieId,title,genres'"),
    ("25m", "movies.csv", lambda rows: [*rows[:3], '9,"a\n'], "line 4: 2 values, expected 3"),
    ("25m", "movies.csv", lambda rows: [*rows[:3], "9,\udcff,b\n"], "line 4: it is not utf-8"),
    ("25m", "ratings.csv", lambda rows: [*rows, "1,3,0,9\n"], "label of 'rating' outside its"),
]


@pytest.mark.parametrize(("version", "name", "change", "message"), DAMAGE)
def test_damage(tmp_path, monkeypatch, version, name, change, message):
    monkeypatch.setattr(movielens_files, "BYTES", 100)  # a few lines at a time
    twins.movielens(tmp_path / "raw" / "movielens", version)
    path = tmp_path / "raw" / "movielens" / f"ml-{version}" / name
    rows = path.read_text("latin-1" if version != "25m" else "utf-8").splitlines(keepends=True)
    encoding = "latin-1" if version != "25m" else "utf-8"
    path.write_bytes("".join(change(rows)).encode(encoding, "surrogateescape"))
    with pytest.raises(UserError) as caught:
        load(tmp_path, "movielens", f"version={version}")
    assert message in str(caught.value)
    if "label" not in message:
        assert str(caught.value).startswith(str(path.parent))
        assert str(path) in str(caught.value)
        assert not list((tmp_path / "data").rglob("*.parquet"))
    assert not list((tmp_path / "data").rglob("prepared.json"))


def test_a_file_that_is_not_there(tmp_path):
    twins.movielens(tmp_path / "raw" / "movielens", "1m")
    (tmp_path / "raw/movielens/ml-1m/users.dat").unlink()
    with pytest.raises(UserError, match=r"lacks ml-1m/users\.dat\. Get the set from https://group"):
        load(tmp_path, "movielens")
