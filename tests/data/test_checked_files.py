"""No damage to a prepared set's files leads to other numbers: each is told, by the file's name."""

import json
import pathlib
import random
import re

import pytest
from toy_set import without_checksums

from dtn_jax import checksums
from dtn_jax.datasets.preparation import checked_files
from dtn_jax.datasets.preparation.prepared import read
from dtn_jax.errors import UserError

pytest_plugins = ["prepared_toy"]

RECORDS = "toy-{}.array_record-00000-of-00001"


def told(folder, name):
    with pytest.raises(UserError) as caught:
        read(folder)
    assert str(caught.value).startswith(str(folder / name))
    assert str(caught.value).endswith(f"delete {folder} to prepare the data set again")


def test_any_flipped_bit_in_any_file_is_told(whole, folder):
    rng = random.Random(0)
    for path in sorted(folder.iterdir()):
        before = path.read_bytes()
        for _ in range(20):
            changed = bytearray(before)
            changed[rng.randrange(len(before))] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            own = path.name == checksums.NAME  # then it may be any file that seems to have changed
            told(folder, "" if own else path.name)
        path.write_bytes(before)
    assert read(folder).fingerprint == read(whole).fingerprint


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("prepared.json", '"train": 30', '"train": 20'),  # fewer rows
        ("prepared.json", '"lanes": 2', '"lanes": 1'),
        ("schema.json", '"rows": 31', '"rows": 77'),  # a larger table
        ("schema.json", "binary", "regression"),
        ("encoders.json", '"a"', '"x"'),
    ],
)
def test_an_edit_is_told(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    told(folder, name)


def test_records_of_another_split_are_told(folder):
    train, test = (folder / RECORDS.format(split) for split in ("train", "test"))
    assert train.stat().st_size == test.stat().st_size
    test.write_bytes(train.read_bytes()[:-1] + b"\1")
    told(folder, test.name)


def test_other_files_may_lie_beside_it(folder):
    (folder / "notes of mine.txt").write_text("good")
    assert read(folder).rows["train"] == 30


def test_a_record_that_is_damaged_is_told_when_it_is_read(folder, monkeypatch):
    """Of long files only the ends are verified at first."""
    monkeypatch.setattr(checked_files, "LONG", 0)
    monkeypatch.setattr(checked_files, "ENDS", 100)
    checked_files.seal(folder)
    path = folder / RECORDS.format("test")
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    source = read(folder).source("test")
    for call in (lambda: list(source), lambda: source.__getitems__(range(len(source)))):
        with pytest.raises(UserError, match=rf"{re.escape(str(path))}, cannot be read .*delete"):
            call()
    with pytest.raises(IndexError):
        source[len(source)]
    data[-1] ^= 1
    path.write_bytes(data)
    told(folder, path.name)


def test_a_set_of_an_earlier_version_opens_and_says_so_once(folder, capsys):
    without_checksums(folder)
    assert read(folder).rows == read(folder).rows
    said = capsys.readouterr()
    told = said.out + said.err
    assert told.count("has no checksums (an earlier version prepared it)") == 1
    remedy = f"rm -r {folder}, then python -m experiments.prepare --dataset={folder.parent.name} "
    assert remedy + f"--data_dir={folder.parent.parent}" in told
    log = checked_files.prepare_anew(pathlib.Path("my data/logs/shop/1.0.0"))
    assert log.startswith("rm -r 'my data/logs/shop/1.0.0', then python -m experiments.prepare -")
    assert log.endswith("--input=YOUR_FILES --data_dir='my data'")


def test_checksums_that_were_made_and_are_gone_are_told(folder):
    (folder / checksums.NAME).unlink()
    told(folder, f"{checksums.NAME} is missing")


@pytest.mark.parametrize("edit", [('"train": 30', '"train": 20'), ('"lanes": 2', '"lanes": 0')])
def test_other_rows_of_a_set_of_an_earlier_version_are_told(folder, edit):
    without_checksums(folder)
    path = folder / "prepared.json"
    path.write_text(path.read_text().replace(*edit))
    with pytest.raises(
        UserError, match=r"dataset_info.json is missing or damaged .*(8 records|zero)"
    ):
        read(folder)


def test_nonsense_in_place_of_checksums_is_told(folder):
    for text in ("", "[]", "[" * 10_000, '{"a": 1}', '{"a": [1e999, 2]}', "null"):
        (folder / checksums.NAME).write_text(text)
        told(folder, checksums.NAME)
    names = json.dumps({"../outside": [1, "a"]})
    (folder / checksums.NAME).write_text(names)
    told(folder, "../outside")


def test_a_file_in_place_of_the_set_is_told(tmp_path):
    (tmp_path / "1.0.0").write_text("")
    with pytest.raises(UserError, match="is not a folder, expected a prepared set"):
        read(tmp_path / "1.0.0")
