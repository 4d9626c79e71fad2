"""Finding, preparing and opening data sets by name, and what is said when that fails."""

import functools
import json
import pathlib
import shutil

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.catalog import parse_options
from dtn_jax.datasets.preparation.prepared import check_ids, read
from dtn_jax.errors import UserError
from dtn_jax.schema import Field, Schema, Task


class Toy(BlockBuilder, skip_registration=True):
    """Thirty rows of two fields."""

    def encoders(self):
        return {"word": enc.Vocabulary(), "size": enc.QuantileBuckets()}

    def tasks(self):
        return (Task("click"),)

    def layout(self):
        return Layout(lanes=2, block_rows=4)

    def raw(self, dl_manager):
        n = 30
        words = pl.Series(["a", "b", "c"] * (n // 3))
        frame = pl.DataFrame({"word": words, "size": range(n), "click": [0, 1] * (n // 2)})
        return {s: functools.partial(iter, [frame]) for s in ("train", "validation", "test")}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(catalog.DATASETS, "toy", Toy)
    for name in ("DTN_DATA_DIR", "DTN_MANUAL_DIR"):
        monkeypatch.delenv(name, raising=False)


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


# --- load ----------------------------------------------------------------------------------------


def test_the_three_data_sets():
    assert {"adult", "census_income", "synthetic"} <= set(catalog.DATASETS)
    assert all(c.name == name for name, c in catalog.DATASETS.items())


def test_load_prepares_once(tmp_path, capsys, monkeypatch):
    first = catalog.load("toy", data_dir=str(tmp_path))
    assert first.folder == tmp_path / "toy" / "1.0.0"
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr(Toy, "raw", None)
    assert catalog.load("toy", data_dir=str(tmp_path)) == first
    assert capsys.readouterr().out == ""


def test_a_set_prepared_by_other_rules_is_refused(tmp_path, monkeypatch):
    catalog.load("toy", data_dir=str(tmp_path))
    changed = {"word": enc.Vocabulary(min_count=2), "size": enc.QuantileBuckets()}
    monkeypatch.setattr(Toy, "encoders", lambda self: changed)
    with pytest.raises(UserError, match=r"was prepared by other rules .* delete it"):
        catalog.load("toy", data_dir=str(tmp_path))


class Manual(Toy, skip_registration=True):
    """The toy, read from the user's own files."""

    name = "manual"

    def raw_files(self):
        if not self.manual_dir:
            raise UserError("manual is not downloaded")
        found = sorted((self.manual_dir / "manual").glob("*.csv"))
        if not found:
            raise UserError(f"{self.manual_dir} holds no csv")
        return found


def test_other_raw_files_than_those_that_were_prepared_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(catalog.DATASETS, "manual", Manual)
    raw = tmp_path / "raw" / "manual"
    raw.mkdir(parents=True)
    for name in ("a.csv", "b.csv"):
        (raw / name).write_text("12345")

    def load(manual_dir=str(tmp_path / "raw")):
        return catalog.load("manual", data_dir=str(tmp_path / "data"), manual_dir=manual_dir)

    first = load()
    assert first.raw_files == {"a.csv": 5, "b.csv": 5}
    assert load() == first
    (raw / "b.csv").write_text("123456")
    with pytest.raises(UserError, match=r"other raw files .*b\.csv was 5 bytes, is 6 bytes"):
        load()
    (raw / "b.csv").unlink()
    with pytest.raises(UserError, match=r"b\.csv was 5 bytes, is absent"):
        load()
    (raw / "b.csv").write_text("12345")
    (raw / "c.csv").write_text("")
    with pytest.raises(UserError, match=r"c\.csv was absent, is 0 bytes"):
        load()
    assert load(manual_dir="") == first  # a prepared set needs no raw files


ENDS = 64 << 10


@pytest.mark.parametrize("at", [0, ENDS - 1, 2 * ENDS, 3 * ENDS - 1])
def test_an_edit_that_keeps_the_size_is_seen(tmp_path, monkeypatch, at):
    monkeypatch.setitem(catalog.DATASETS, "manual", Manual)
    (tmp_path / "manual").mkdir()
    path, text = tmp_path / "manual" / "a.csv", bytearray(3 * ENDS)
    path.write_bytes(text)
    load = functools.partial(catalog.load, "manual", "", f"{tmp_path}/data", str(tmp_path))
    first = load()
    text[at] = 1
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"other raw files .*a\.csv has the same size, but "):
        load()
    # A set that was prepared before there were hashes: what is known of it is compared.
    prepared = first.folder / "prepared.json"
    facts = json.loads(prepared.read_text())
    del facts["raw_hashes"]
    prepared.write_text(json.dumps(facts))
    assert load().fingerprint == first.fingerprint
    path.write_bytes(text + b"1")
    with pytest.raises(UserError, match=r"a\.csv was 196,608 bytes, is 196,609"):
        load()


def test_a_given_folder_without_the_data_set_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(catalog.DATASETS, "manual", Manual)
    (tmp_path / "raw" / "manual").mkdir(parents=True)
    (tmp_path / "raw" / "manual" / "a.csv").write_text("12345")
    (tmp_path / "empty").mkdir()
    load = functools.partial(catalog.load, "manual", "", f"{tmp_path}/data")
    first = load(f"{tmp_path}/raw")
    capsys.readouterr()
    assert load(f"{tmp_path}/empty") == first
    said = f"using the set prepared earlier in {first.folder}; {tmp_path}/empty holds no csv"
    assert capsys.readouterr().out == f"manual: {said}\n"
    monkeypatch.setenv("DTN_MANUAL_DIR", f"{tmp_path}/empty")  # for all data sets: it may lack some
    assert load() == load(f"{tmp_path}/raw") == first
    assert capsys.readouterr().out == ""


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


def test_the_manual_folder_reaches_the_builder(tmp_path, monkeypatch):
    seen = []
    raw = Toy.raw
    monkeypatch.setattr(Toy, "raw", lambda self, dl: seen.append(self.manual_dir) or raw(self, dl))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "given").mkdir()
    for i, (environment, given) in enumerate(
        [("", ""), (str(tmp_path / "env"), ""), (str(tmp_path / "env"), "~/given")]
    ):
        monkeypatch.setenv("DTN_MANUAL_DIR", environment)
        catalog.load("toy", data_dir=str(tmp_path / str(i)), manual_dir=given)
    assert seen == [None, tmp_path / "env", tmp_path / "given"]


def test_what_load_refuses(tmp_path):
    for arguments, message in [
        (("adullt",), "unknown data set 'adullt'. Did you mean 'adult'? The choices are: adult, "),
        (("toy", "rows=5"), "data set 'toy' has no options, got data.options='rows=5'"),
        (("adult", "seed=1"), "data set 'adult' has no options"),
        (("synthetic", "sead=1"), "'sead'. Did you mean 'seed'? The choices are: rows, ids, seed."),
    ]:
        with pytest.raises(UserError) as caught:
            catalog.load(*arguments, data_dir=str(tmp_path))
        assert message in str(caught.value)
    manual = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=f"data.manual_dir '{manual}' is not a folder"):
        catalog.load("toy", data_dir=str(tmp_path), manual_dir=manual)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"toy cannot be prepared in {tmp_path}/file/toy/1.0.0: "):
        catalog.load("toy", data_dir=str(tmp_path / "file"))


def test_another_process_may_be_faster(tmp_path, monkeypatch):
    raw = Toy.raw

    def slow(self, dl_manager):
        # By the time this one is done, the other one's folder is there.
        monkeypatch.setattr(Toy, "raw", raw)
        Toy(data_dir=str(tmp_path)).download_and_prepare()
        return raw(self, dl_manager)

    monkeypatch.setattr(Toy, "raw", slow)
    data = catalog.load("toy", data_dir=str(tmp_path))
    assert len(data.source("train")) == 8
    assert [p.name for p in (tmp_path / "toy").iterdir()] == ["1.0.0"]  # no temporary one is left


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("rows=1000", {"rows": 1_000}),
        (" rows = 1e6 ,seed=-3,", {"rows": 1_000_000, "seed": -3}),
        ("rows=1.5e3", {"rows": 1_500}),
        ("seed=9007199254740993", {"seed": 2**53 + 1}),
    ],
)
def test_options(text, options):
    got = parse_options(text, {"rows": 1, "seed": 0}, "synthetic")
    assert got == options
    assert all(type(v) is int for v in got.values())


def test_options_that_are_words():
    allowed = {"min_count": 2, "pooling": ("sum", "mean")}
    got = parse_options("pooling= mean ,min_count=3", allowed, "shop")
    assert got == {"pooling": "mean", "min_count": 3}
    with pytest.raises(UserError, match=r"'meen'\. Did you mean 'mean'\? The choices are: sum"):
        parse_options("pooling=meen", allowed, "shop")
    with pytest.raises(UserError, match="'pooling' is given twice"):
        parse_options("pooling=sum,pooling=sum", allowed, "shop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows", "data.options: expected KEY=VALUE, got 'rows'"),
        ("rows=", "data.options: expected KEY=VALUE, got 'rows='"),
        ("rows=2.5", "data.options: rows expects a whole number, got '2.5'"),
        ("rows=1.5e0", "data.options: rows expects a whole number, got '1.5e0'"),
        ("rows=1e999", "data.options: rows expects a whole number, got '1e999'"),
        ("rows=ten", "data.options: rows expects a whole number, got 'ten'"),
        ("rows=1,rows=2", "data.options: 'rows' is given twice in 'rows=1,rows=2'"),
        ("row=1", "unknown option of data set 'synthetic' 'row'. Did you mean 'rows'?"),
        ("7", "data.options: expected KEY=VALUE, got '7'"),
    ],
)
def test_options_that_cannot_be_read(text, message):
    with pytest.raises(UserError) as caught:
        parse_options(text, {"rows": 1, "seed": 0}, "synthetic")
    assert message in str(caught.value)


# --- read ----------------------------------------------------------------------------------------


def test_read_gives_what_was_prepared(folder):
    data = read(folder)
    assert data.folder == folder
    assert data.rows == {"train": 30, "validation": 30, "test": 30}
    assert data.layout == Layout(2, 4)
    assert data.schema == Schema(
        "toy", (Field("word", rows=4), Field("size", "numeric", rows=31)), (Task("click"),)
    )
    assert data.notes == {}
    assert [f.name for f in data.schema.fields] == list(data.encoders())
    np.testing.assert_array_equal(data.source("test")[0]["ids"][:, 0], [1, 2, 3, 1])
    with pytest.raises(UserError, match=r"unknown split 'training'\. Did you mean 'train'"):
        data.source("training")


def read_error(folder):
    with pytest.raises(UserError) as caught:
        read(folder)
    assert f"delete {folder} to prepare the data set again" in str(caught.value)
    return str(caught.value)


JSON_FILES = ("prepared.json", "schema.json", "notes.json", "features.json", "dataset_info.json")
RECORDS = "toy-validation.array_record-00000-of-00001"


def test_a_truncated_record_file(folder):
    path = folder / RECORDS
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    assert f"{path} has {size // 2} bytes, expected {size}" in read_error(folder)


@pytest.mark.parametrize("name", [*JSON_FILES, "encoders.json", RECORDS])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    assert f"{folder / name} is missing" in read_error(folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, text) for name in JSON_FILES for text in ("", "{")),
        ("prepared.json", '{"a": 1}'),
        ("schema.json", '{"a": 1}'),
    ],
)
def test_a_damaged_json_file(folder, name, text):
    path = folder / name
    path.write_text(text)
    assert f"{path} is missing or damaged (" in read_error(folder)


def test_facts_that_do_not_fit(folder):
    path = folder / "prepared.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"layout": {"lanes": 2}}))
    assert f"{path} is missing or damaged (" in read_error(folder)
    path.write_text("[]")
    assert f"{path} is missing or damaged (" in read_error(folder)


def test_a_schema_that_was_edited_into_nonsense(folder):
    path = folder / "schema.json"
    path.write_text(path.read_text().replace('"click"', '"word"'))
    message = read_error(folder)
    assert str(path) in message
    assert "'word' is a label and cannot also be a field" in message


def test_damaged_encoders(folder):
    path = folder / "encoders.json"
    text = path.read_text()
    path.write_text(text[:-2])
    assert f"{path} has {len(text) - 2} bytes, expected {len(text)}" in read_error(folder)
    path.write_text(text)
    data = read(folder)
    path.write_text(text.replace("vocabulary", "dictionary"))
    with pytest.raises(UserError, match="unknown encoder of field 'word' 'dictionary'"):
        data.encoders()


def test_load_reports_a_damaged_folder_and_keeps_it(folder):
    (folder / RECORDS).unlink()
    with pytest.raises(UserError, match=f"{folder / RECORDS} is missing"):
        catalog.load("toy", data_dir=str(folder.parent.parent))
    assert (folder / "prepared.json").exists()


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', None])
def test_load_names_a_damaged_dataset_info(folder, text):
    path = folder / "dataset_info.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=f"(?s){path} is .*damaged .*; delete {folder} to prepare"):
        catalog.load("toy", data_dir=str(folder.parent.parent))


# --- ids -----------------------------------------------------------------------------------------

SCHEMA = Schema(
    "s",
    (Field("user", rows=5), Field("seen", "sequence", rows=3, slots=2)),
    (Task("click"),),
)


def test_ids_within_their_tables():
    check_ids(np.array([[0, -1, -1], [4, 2, 0], [-1, 0, 2]]), SCHEMA)
    check_ids(np.empty((0, 3), np.int32), SCHEMA)


@pytest.mark.parametrize(
    ("row", "slot", "value", "message"),
    [
        (1, 0, 5, "field 'user': id 5 in row 1 is not in its table of 5 rows (0 to 4; -1 is pad"),
        (2, 0, -2, "field 'user': id -2 in row 2 is not in its table of 5 rows"),
        (0, 1, 3, "field 'seen': id 3 in row 0 is not in its table of 3 rows (0 to 2;"),
        (2, 2, 2**31 - 1, "field 'seen': id 2147483647 in row 2"),
    ],
)
def test_ids_outside_their_tables(row, slot, value, message):
    ids = np.zeros((3, 3), np.int32)
    ids[row, slot] = value
    with pytest.raises(UserError) as caught:
        check_ids(ids, SCHEMA)
    assert message in str(caught.value)
