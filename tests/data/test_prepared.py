"""Prepared sets as they are read: whole, damaged, with ids beyond their tables."""

import json

import numpy as np
import pytest
from toy_set import Toy, without_checksums

from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.prepared import check_ids, read
from dtn_jax.errors import UserError
from dtn_jax.schema import Field, Schema, Task

pytest_plugins = ["prepared_toy"]


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(catalog.DATASETS, "toy", Toy)
    for name in ("DTN_DATA_DIR", "DTN_MANUAL_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def older(folder):
    """The copy as an earlier version would have prepared it."""
    return without_checksums(folder)


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
    assert f"{path} has {size // 2:,} bytes, expected {size:,}" in read_error(folder)


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
def test_a_damaged_json_file(older, name, text):
    path = older / name
    path.write_text(text)
    assert f"{path} is missing or damaged (" in read_error(older)


def test_facts_that_do_not_fit(older):
    folder, path = older, older / "prepared.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"layout": {"lanes": 2}}))
    assert f"{path} is missing or damaged (" in read_error(folder)
    path.write_text("[]")
    assert f"{path} is missing or damaged (" in read_error(folder)


def test_a_schema_that_was_edited_into_nonsense(older):
    folder, path = older, older / "schema.json"
    path.write_text(path.read_text().replace('"click"', '"word"'))
    message = read_error(folder)
    assert str(path) in message
    assert "'word' is a label and cannot also be a field" in message


def test_damaged_encoders(older):
    folder, path = older, older / "encoders.json"
    text = path.read_text()
    path.write_text(text[:-2])
    assert f"{path} has {len(text) - 2:,} bytes, expected {len(text):,}" in read_error(folder)
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


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": 1}', b'{"\xe5": 1}', None])
def test_load_names_a_damaged_dataset_info(folder, text):
    path = folder / "dataset_info.json"
    path.unlink() if text is None else path.write_bytes(text)
    told = f"(?s){path} is (missing|damaged .*); delete {folder} to prepare"
    with pytest.raises(UserError, match=told):
        catalog.load("toy", data_dir=str(folder.parent.parent))


SCHEMA = Schema(
    "s",
    (Field("user", rows=5), Field("seen", "bag", rows=3, slots=2)),
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
