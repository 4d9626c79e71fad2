"""Prepared sets as they are read: whole or damaged. No damage leads to other numbers."""

import json
import pathlib
import random
import shutil

import pytest
from toy_set import Toy

from dtn_jax.data import prepared
from dtn_jax.data.blocks import Layout
from dtn_jax.data.prepared import read
from dtn_jax.data.raw import files as raw_files
from dtn_jax.errors import UserError
from dtn_jax.files import HASHES
from dtn_jax.schema import Field, Task


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


def test_read_gives_what_was_prepared(folder):
    data = read(folder)
    assert data.folder == folder
    assert data.rows == {"train": 30, "validation": 30, "test": 30}
    assert data.layout == Layout(2, 4)
    assert data.schema.name == "toy"
    assert data.schema.fields == (Field("word", rows=4), Field("size", "numeric", rows=31))
    assert data.schema.tasks == (Task("click"),)
    assert data.notes["read"] == 90
    first, *others = data.source("test")[0]["ids"][:, 0].tolist()
    assert {first, *others} == {1, 2, 3}
    assert others[-1] == first
    with pytest.raises(UserError, match=r"unknown split 'training'\. Did you mean 'train'"):
        data.source("training")


def read_error(folder):
    with pytest.raises(UserError) as caught:
        read(folder)
    assert f"delete {folder} to prepare the data set again" in str(caught.value)
    return str(caught.value)


JSON_FILES = ("prepared.json", "schema.json", "notes.json")


RECORDS = "logs-validation.array_record-00000"


def test_a_truncated_record_file(folder):
    path = folder / RECORDS
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    assert f"{size // 2:,} bytes, expected {size:,}" in read_error(folder)


def test_a_missing_file(folder):
    for name in (*JSON_FILES, "encoders.json", RECORDS):
        (folder / name).rename(folder / "kept")
        assert f"{folder / name} is missing" in read_error(folder)
        (folder / "kept").rename(folder / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *zip(JSON_FILES, ("", "{", "")),
        ("prepared.json", "[]"),
        ("prepared.json", '{"a": 1}'),
        ("schema.json", '{"a": 1}'),
    ],
)
def test_a_damaged_json_file(folder, name, text):
    path = folder / name
    path.write_text(text)
    prepared.seal(folder, leave_out=["rejects.jsonl"])
    assert f"{path} is missing or damaged (" in read_error(folder)


def told(folder, name):
    with pytest.raises(UserError) as caught:
        read(folder)
    assert str(caught.value).startswith(str(folder / name))
    assert str(caught.value).endswith(f"delete {folder} to prepare the data set again")


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


def test_checksums_that_were_made_and_are_gone_are_told(folder):
    (folder / HASHES).unlink()
    told(folder, HASHES)


def test_nonsense_in_place_of_checksums_is_told(folder):
    for text in ("", "[]", "[" * 10_000, '["a"]', "null"):
        (folder / HASHES).write_text(text)
        told(folder, HASHES)
    names = json.dumps({"../outside": {"bytes": 1, "sha256": "a"}})
    (folder / HASHES).write_text(names)
    told(folder, "../outside")


def test_a_file_in_place_of_the_set_is_told(tmp_path):
    (tmp_path / "1.0.0").write_text("")
    with pytest.raises(UserError, match="is not a folder, expected a prepared set"):
        read(tmp_path / "1.0.0")
