"""Data sets by name: prepared once, of frames or files; what is refused, and what damage does."""

import json
import pathlib
import random
import shutil
import threading

import numpy as np
import polars as pl
import pytest
from other_values import another
from shop import prepare, rows_of

from dtn_jax.data import prepared
from dtn_jax.data.blocks import Layout
from dtn_jax.data.prepared import read
from dtn_jax.data.raw import files as raw_files
from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.catalog import parse_options
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.data.stages import frames
from dtn_jax.data.stages.frames import FOLDER, LOCK
from dtn_jax.errors import UserError
from dtn_jax.files import HASHES
from dtn_jax.options import Option
from dtn_jax.schema import Task

APART = {"synthetic": {"interactions"}}  # free text


class Toy(DataSet):
    """Thirty rows of two fields."""

    name = "toy"
    layout = Layout(lanes=2, block_rows=4)
    schema = """
        fields:
          word:
          size: {kind: numeric}
        tasks: [click]
        split: {by: column, column: _split}
    """

    def raw(self, files):
        n = 30
        words = pl.Series(["a", "b", "c"] * (n // 3))
        frame = pl.DataFrame({"word": words, "size": range(n), "click": [0, 1] * (n // 2)})
        return dict.fromkeys(("train", "validation", "test"), frame)


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


def test_options_are_read_by_their_types():
    """What options may not be is in test_config.py."""
    allowed = {"rows": Option(1, "of the set"), "seed": Option(0, "of the rows")}
    got = parse_options(" rows = 1e6 ,seed=9007199254740993,", allowed, "synthetic")
    assert got == {"rows": 1_000_000, "seed": 2**53 + 1}
    assert {type(value) for value in got.values()} == {int}


# A data set in one file: frames or files and a schema become a prepared set; what is refuse.


def test_prepared_rows_are_the_raw_rows_in_order_and_counted(splits, tmp_path, capfd):
    data = prepare(splits, tmp_path)
    assert data.rows == {"train": 101, "validation": 24, "test": 7}
    assert data.layout == Layout(lanes=3, block_rows=4)
    assert [f.name for f in data.schema.fields] == ["word", "size", "speed", "id"]
    assert data.schema.tasks == (Task("click"), Task("seconds", "regression"))
    assert data.schema.weight == "w"
    assert data.groups("train") is data.days("train") is None
    with pytest.raises(UserError, match=r"unknown split 'training'\. Did you mean 'train'"):
        data.source("training")
    facts = json.loads((data.folder / "prepared.json").read_text())
    assert facts["unknown_values"] == data.unknown_values
    for split, parts in splits.items():
        frame, got = pl.concat(parts), rows_of(data, split)
        np.testing.assert_array_equal(got["ids"][:, 3], frame["id"] * (frame["id"] < 6))
        np.testing.assert_array_equal(got["sample_weight"], frame["w"].to_numpy())
        click, seconds = frame["click"], frame["seconds"].fill_nan(None)
        known = np.stack([click.is_not_null(), seconds.is_not_null()], axis=1)
        np.testing.assert_array_equal(got["label_mask"], known)
        labels = [click.fill_null(0).to_numpy(), seconds.fill_null(0).to_numpy()]
        np.testing.assert_array_equal(got["labels"], np.float32(np.stack(labels, axis=1)))
        unknown = {"word": 3 * (split == "test"), "size": 0, "speed": 0}  # two new, one missing
        unknown["id"] = (~frame["id"].is_between(1, 5)).sum()
        assert data.unknown_values[split] == unknown
    assert {p.name for p in (tmp_path / "shop").iterdir()} == {"1.0.0", LOCK}
    shown = capfd.readouterr()
    assert shown.err == ""
    assert shown.out.splitlines()[:2] == [f"Preparing shop in {tmp_path}/shop", "one shop"]
    assert "shop: 101 train, 24 validation, 7 test rows\n" in shown.out


def test_the_fingerprint_is_that_of_the_values(splits, tmp_path):
    first = prepare(splits, tmp_path / "1")
    cut = {s: list(pl.concat(f).iter_slices(5)) for s, f in splits.items()}  # the same rows
    assert prepare(cut, tmp_path / "2").fingerprint == first.fingerprint
    for split, column, value in (
        ("train", "speed", 0.123),
        ("validation", "seconds", None),
        ("test", "w", 99),
    ):
        *frames, last = splits[split]
        values = last[column].to_list()
        row = next(i for i, v in enumerate(values) if v != value and v == v and v is not None)
        values[row] = value
        last = last.with_columns(pl.Series(column, values, dtype=last[column].dtype))
        changed = prepare(splits | {split: [*frames, last]}, tmp_path / column)
        assert changed.fingerprint != first.fingerprint


def test_a_wrong_value_is_told_with_its_place_and_the_schema_with_its_line(splits, tmp_path):
    good, late = splits["train"], splits["train"][-1]
    bad = late["click"].to_list()
    bad[2] = 3
    splits["train"] = [*good[:-1], late.with_columns(click=pl.Series(bad))]
    with pytest.raises(UserError, match="1 of 132 rows are bad") as caught:
        prepare(splits, tmp_path)
    assert "'click'" in str(caught.value)
    rejects = (tmp_path / "shop/rejects.jsonl").read_text()
    assert json.loads(rejects.splitlines()[0])["row"] == 43
    lacking = {split: [f.drop("size") for f in frames] for split, frames in splits.items()}
    with pytest.raises(UserError, match=r"shop/shop\.yaml, line 4: field 'size': unknown column"):
        prepare(lacking, tmp_path)
    assert prepare(splits | {"train": good}, tmp_path).rows["train"] == 101


# --- several processes, and dead ones ------------------------------------------------------------


def test_a_set_is_prepared_once_however_many_ask_for_it(tmp_path, monkeypatch, capsys):
    begun, found = [], []
    both, raw = threading.Event(), Toy.raw

    def slow(self, files):
        begun.append(1)
        both.wait(timeout=20)
        return raw(self, files)

    monkeypatch.setattr(Toy, "raw", slow)
    say = frames.progress.say

    def said(text):
        say(text)
        if "Waiting" in text:
            both.set()

    monkeypatch.setattr(frames.progress, "say", said)
    load = lambda: found.append(catalog.load("toy", data_dir=str(tmp_path)))  # noqa: E731
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert found[0] == found[1]
    assert "Waiting for another process, which prepares toy" in capsys.readouterr().out


def test_a_dead_process_leaves_nothing(tmp_path):
    home = tmp_path / "toy"
    (home / FOLDER).mkdir(parents=True)
    (home / FOLDER / "0.parquet").write_text("half")
    catalog.load("toy", data_dir=str(tmp_path))
    assert {p.name for p in home.iterdir()} - {LOCK} == {"1.0.0"}


# Prepared sets as they are read: whole or damaged. No damage leads to other numbers.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A prepared set that no test touches."""
    builder = Toy(data_dir=str(tmp_path_factory.mktemp("toy")))
    builder.download_and_prepare()
    return pathlib.Path(builder.data_dir)


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the prepared set to spoil."""
    return pathlib.Path(shutil.copytree(whole, tmp_path / "toy" / "1.0.0"))


def told(folder, name, what=""):
    with pytest.raises(UserError) as caught:
        read(folder)
    assert str(caught.value).startswith(str(folder / name) + what)
    assert str(caught.value).endswith(f"delete {folder} to prepare the data set again")


def test_a_missing_file(folder):
    records = "logs-validation.array_record-00000"
    for name in ("prepared.json", "schema.json", "notes.json", "encoders.json", records, HASHES):
        (folder / name).rename(folder / "kept")
        told(folder, name, " is missing" * (name != HASHES))
        (folder / "kept").rename(folder / name)


def test_any_flipped_bit_in_any_file_is_told(whole, folder):
    rng = random.Random(0)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "rejects.jsonl"):
        before = path.read_bytes()
        for _ in range(8):
            changed = bytearray(before)
            changed[rng.randrange(len(before))] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            own = path.name == HASHES  # then it may be any file that seems to have changed
            told(folder, "" if own else path.relative_to(folder))
        path.write_bytes(before)
    assert read(folder).fingerprint == read(whole).fingerprint


def test_a_record_that_is_damaged_is_told_when_it_is_read(folder, monkeypatch):
    """Of long files only the ends are verified at first."""
    monkeypatch.setattr(prepared, "LONG", 0)
    monkeypatch.setattr(raw_files, "ENDS", 100)
    prepared.seal(folder)
    path = folder / "logs-test.array_record-00000"
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    source = read(folder).source("test")
    for call in (lambda: list(source), lambda: source.__getitems__(range(len(source)))):
        with pytest.raises(UserError, match=r"/logs-test\.array.* cannot be read .*delete"):
            call()
    with pytest.raises(IndexError):
        source[len(source)]
    data[-1] ^= 1
    path.write_bytes(data)
    told(folder, path.name)


def test_nonsense_in_place_of_checksums_is_told(folder):
    for text in ("", "[]", "[" * 10_000, '["a"]', "null"):
        (folder / HASHES).write_text(text)
        told(folder, HASHES)
    names = json.dumps({"../outside": {"bytes": 1, "sha256": "a"}})
    (folder / HASHES).write_text(names)
    told(folder, "../outside")
    with pytest.raises(UserError, match="is not a folder, expected a prepared set"):
        read(folder / HASHES)
