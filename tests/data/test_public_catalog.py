"""What the catalog says of public sets: other rules, other options, interrupted calls, origins."""

import fcntl
import shutil

import pytest
import twins
from public_sets import load

from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.public import movielens_files, public_logs
from dtn_jax.errors import UserError
from experiments import prepare as command

SCHEMAS = sorted(public_logs.SCHEMAS.glob("*.yaml"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_every_schema_file_says_where_its_set_is_from(path):
    about = schema_file.load(path).about
    assert about.keys() == {"citation", "licence", "home", "protocol"}
    assert "https://" in about["home"]


def test_every_schema_file_is_of_a_set():
    sets = {n: b for n, b in catalog.DATASETS.items() if issubclass(b, public_logs.PublicLogs)}
    assert sets.keys() == {"aliexpress", "kuairand_histories", "kuairand_pure", "movielens"}
    found = set()
    for name, builder in sets.items():
        (option,) = builder.OPTIONS.items() if builder.OPTIONS else (("", None),)
        for text in [f"{option[0]}={word}" for word in option[1].words] if option[1] else [""]:
            made = catalog.make_builder(name, text, "/nowhere", "")
            assert made.spec.name == name  # names the folder of raw files in messages
            found.add(made.schema_name())
    assert found == {path.stem for path in SCHEMAS}


def test_the_command_shows_the_origin(tmp_path, capsys):
    twins.kuairand_pure(tmp_path / "raw" / "kuairand_pure")
    load(tmp_path, "kuairand_pure")
    capsys.readouterr()
    command.main(["--dataset=kuairand_pure", f"--data_dir={tmp_path}/data"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in schema_file.load(public_logs.SCHEMAS / "kuairand_pure.yaml").about.values():
        assert text in shown


def test_a_set_of_another_schema_file_is_refused(tmp_path, monkeypatch):
    twins.movielens(tmp_path / "raw" / "movielens", "1m")
    first = load(tmp_path, "movielens")
    shutil.copytree(public_logs.SCHEMAS, tmp_path / "schemas")
    monkeypatch.setattr(public_logs, "SCHEMAS", tmp_path / "schemas")
    path = tmp_path / "schemas" / "movielens_1m.yaml"
    text = path.read_text()
    path.write_text(text.replace("ACM", "A. C. M."))  # what is only said of it counts for nothing
    assert load(tmp_path, "movielens") == first
    path.write_text(text.replace("rating >= 4", "rating >= 5"))
    with pytest.raises(UserError, match=r"version1m/1\.0\.0 was prepared by other rules"):
        load(tmp_path, "movielens")


def test_options_that_there_are_not():
    with pytest.raises(UserError, match=r"version '1M'\. The choices are: 100k, 1m, 25m"):
        catalog.make_builder("movielens", "version=1M", "/nowhere", "")
    with pytest.raises(UserError, match=r"country.*'RU'"):
        catalog.make_builder("aliexpress", "country=RU", "/nowhere", "")
    with pytest.raises(UserError, match=r"'kuairand_pure' has no options"):
        catalog.make_builder("kuairand_pure", "x=1", "/nowhere", "")


def test_an_interrupted_call_is_taken_up(tmp_path, monkeypatch):
    """The files are joined once, by one process at a time."""
    twins.movielens(tmp_path / "raw" / "movielens", "100k")
    joins, real = [], movielens_files.join
    monkeypatch.setattr(movielens_files, "join", lambda *given: (joins.append(1), real(*given)))
    options = "version=100k"

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(public_logs, "prepare", interrupted)
            with pytest.raises(KeyboardInterrupt):
                catalog.load("movielens", options, f"{tmp_path}/data", f"{tmp_path}/raw")
    assert len(joins) == 1
    with (tmp_path / "data/movielens/version100k/joined.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is preparing movielens in"):
            load(tmp_path, "movielens", options)
    first = load(tmp_path, "movielens", options)
    assert len(joins) == 1
    twins.movielens(tmp_path / "fresh/raw/movielens", "100k")
    assert load(tmp_path / "fresh", "movielens", options).fingerprint == first.fingerprint


def test_what_was_joined_of_other_files_is_removed(tmp_path):
    home = tmp_path / "data/movielens/version1m"
    home.mkdir(parents=True)
    for name in ("joined-000000000000.parquet", "joined-0.parquet.abc.tmp"):
        (home / name).write_text("")
    twins.movielens(tmp_path / "raw" / "movielens", "1m")
    load(tmp_path, "movielens")
    assert [path.name for path in home.iterdir()] == ["1.0.0"]
