"""Places of outputs that can be none: told before any work, and nothing is written."""

import pytest

from dtn_jax.errors import UserError
from experiments import compare, export, feature_importance, paper_tables, prepare

pytest_plugins = ["finished_runs"]


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
