"""Data sets by name: prepared once, from the files given, with the options given."""

import pytest
from other_values import another
from toy_set import Toy

from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.catalog import parse_options
from dtn_jax.errors import UserError
from dtn_jax.options import Option

APART = {"synthetic": {"interactions"}}  # free text


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(catalog.DATASETS, "toy", Toy)
    for name in ("DTN_DATA_DIR", "DTN_MANUAL_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", sorted({*catalog.DATASETS} - {"logs"}))  # its file says where
def test_a_set_of_other_options_has_a_folder_of_its_own(name, tmp_path):
    usual = catalog.make_builder(name, "", str(tmp_path), "").data_dir
    options = catalog.DATASETS[name].OPTIONS
    for key in options.keys() - APART.get(name, set()):
        text = f"{key}={another(options[key], options[key].default)}"
        assert catalog.make_builder(name, text, str(tmp_path), "").data_dir != usual, key


def test_load_prepares_once(tmp_path, capsys, monkeypatch):
    first = catalog.load("toy", data_dir=str(tmp_path))
    assert first.folder == tmp_path / "toy" / "1.0.0"
    assert len(capsys.readouterr().out.splitlines()) == 3
    monkeypatch.setattr(Toy, "raw", None)
    assert catalog.load("toy", data_dir=str(tmp_path)) == first
    assert capsys.readouterr().out == ""


class Manual(Toy):
    """The toy, read from the user's own files."""

    name = "manual"

    def raw_files(self):
        return {path.name: path for path in sorted((self.manual_dir / "manual").glob("*.csv"))}


def test_other_raw_files_than_those_that_were_prepared_are_refused(tmp_path, monkeypatch):
    """An edit that keeps the size is seen too."""
    monkeypatch.setitem(catalog.DATASETS, "manual", Manual)
    raw, text = tmp_path / "raw/manual", bytes(200_000)
    raw.mkdir(parents=True)
    (raw / "a.csv").write_text("12345")
    (raw / "b.csv").write_bytes(text)

    def load(manual_dir=str(tmp_path / "raw")):
        return catalog.load("manual", data_dir=str(tmp_path / "data"), manual_dir=manual_dir)

    first = load()
    assert first.raw_files == {"a.csv": 5, "b.csv": 200_000}
    assert load() == first
    for name, data, told in (
        ("b.csv", text + b"1", "was 200,000 bytes, is 200,001 bytes"),
        ("b.csv", b"1" + text[1:], "has the same size, but "),
        ("b.csv", text[1:] + b"1", "has the same size, but "),
        ("c.csv", b"", "was absent, is 0 bytes"),
    ):
        (raw / name).write_bytes(data)
        with pytest.raises(UserError, match=rf"other raw files .*{name} {told}"):
            load()
        (raw / "b.csv").write_bytes(text)
    assert load(manual_dir="") == first  # a prepared set needs no raw files


def test_folders_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DTN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert catalog.load("toy").folder == tmp_path / "data/toy/1.0.0"
    # What is given goes before the environment, the environment before the cache folder.
    assert catalog.load("toy", data_dir="~/mine").folder == tmp_path / "mine/toy/1.0.0"
    monkeypatch.delenv("DTN_DATA_DIR")
    assert catalog.load("toy").folder == tmp_path / "cache/dtn_jax/toy/1.0.0"
    monkeypatch.chdir(tmp_path)
    assert catalog.load("toy", data_dir="here").folder == tmp_path / "here/toy/1.0.0"


def test_what_load_refuses(tmp_path):
    for arguments, message in [
        (("adullt",), "unknown data set 'adullt'. Did you mean 'adult'? The choices are: adult, "),
        (("toy", "rows=5"), "unknown option of data set 'toy' 'rows'"),
        (("adult", "seed=1"), "of data set 'adult' 'seed'. The choices are: numbers."),
        (("synthetic", "sead=1"), "'sead'. Did you mean 'seed'? The choices are: rows, ids, seed,"),
    ]:
        with pytest.raises(UserError) as caught:
            catalog.load(*arguments, data_dir=str(tmp_path))
        assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


ALLOWED = {"rows": Option(1, "of the set"), "seed": Option(0, "of the rows")}


def test_options_are_read_by_their_types():
    """What options may not be is in test_options.py."""
    got = parse_options(" rows = 1e6 ,seed=9007199254740993,", ALLOWED, "synthetic")
    assert got == {"rows": 1_000_000, "seed": 2**53 + 1}
    assert {type(value) for value in got.values()} == {int}
    with pytest.raises(UserError, match=r"data set 'synthetic' 'row'\. Did you mean 'rows"):
        parse_options("row=1", ALLOWED, "synthetic")
