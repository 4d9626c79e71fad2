"""Prepared and raw data that are damaged or wrong: one clear message, and no harm done."""

import json
import shutil

import plugin
import polars as pl
import pytest
from command_calls import TINY, WATCHED, contents, message_of, one_line

from dtn_jax.data import prepared
from dtn_jax.data.sets.catalog import DATASETS

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


SPLITS = ("train", "validation", "test")


@pytest.fixture
def copied_data(prepared_dir, finished, tmp_path):
    """A copy of the prepared Adult data, to be damaged; (its folder, the override that uses it)."""
    shutil.copytree(f"{prepared_dir}/adult", tmp_path / "data/adult")
    return tmp_path / "data/adult/1.0.0", f"--config.data.data_dir={tmp_path / 'data'}"


FILES = (
    *(f"logs-{split}.array_record-00000-of-00001" for split in SPLITS),
    *("prepared.json", "schema.json", "encoders.json", "notes.json", "checksums.json"),
    *("schema_file.yaml", "vocabulary/race.arrow"),
)


@pytest.mark.parametrize("name", FILES)
def test_a_prepared_file_that_is_missing_or_truncated(refused, copied_data, name):
    folder, override = copied_data
    there = {path.name for path in folder.iterdir()}
    assert there - {"rejects.jsonl"} == {file.partition("/")[0] for file in FILES}
    whole = (folder / name).read_bytes()
    for damaged in (None, whole[: len(whole) // 2], b""):
        (folder / name).unlink()
        if damaged is not None:
            (folder / name).write_bytes(damaged)
        message = one_line(refused(TINY, override))
        assert str(folder / name) in message
        assert f"delete {folder}" in message
        (folder / name).write_bytes(whole)


def test_a_folder_of_other_data_of_that_name(shell, finished, copied_data):
    folder, override = copied_data
    facts = json.loads((folder / "prepared.json").read_text())
    ours, facts["fingerprint"] = facts["fingerprint"], "0123456789abcdef" * 4
    (folder / "prepared.json").write_text(json.dumps(facts))
    prepared.seal(folder)
    before = contents(finished)
    message = one_line(message_of(shell(WATCHED, f"--workdir={finished}", override)))
    assert contents(finished) == before
    assert f"workdir {finished} belongs to another version of the data set" in message
    assert f"{ours[:12]} there, 0123456789ab now" in message


def test_a_data_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("dear")
    message = one_line(refused(TINY, f"--config.data.data_dir={tmp_path / 'file'}"))
    assert str(tmp_path / "file") in message


def test_raw_files_that_are_damaged(refused, tmp_path):
    raw = tmp_path / "raw/census_income"
    raw.mkdir(parents=True)
    (raw / "train.parquet").write_bytes(b"PAR1, and then nothing")
    arguments = (
        "--config=configs/census_income.py",
        f"--config.data.manual_dir={tmp_path / 'raw'}",
        f"--config.data.data_dir={tmp_path / 'data'}",
    )
    message = one_line(refused(*arguments))
    assert f"{raw} lacks test.parquet. Get the set from https://" in message
    shutil.copy(raw / "train.parquet", raw / "test.parquet")
    assert f"{raw / 'train.parquet'} cannot be read: " in one_line(refused(*arguments))
    pl.DataFrame({"age": [33], "sex": ["Male"]}).write_parquet(raw / "train.parquet")
    message = one_line(refused(*arguments))
    assert "column 'class_worker' is missing; the columns are: age, sex" in message


class Shop(plugin.Shop):
    """Reads <manual_dir>/<split>.parquet."""

    def raw(self, files):
        return {s: pl.read_parquet(self.manual_dir / f"{s}.parquet") for s in SPLITS}


class Leaky(Shop):
    """A shop where somebody listed a label as a field."""

    name = "leaky"
    schema = Shop.schema.replace("colour:", "buy:")


@pytest.fixture
def prepare(refused, tmp_path, monkeypatch):
    """Writes the shop's raw files, one of them edited; returns the message of the command."""
    monkeypatch.setitem(DATASETS, "shop", Shop)
    monkeypatch.setitem(DATASETS, "leaky", Leaky)

    def call(split, edit, dataset="shop"):
        for seed, name in enumerate(SPLITS):
            frame = plugin.visits(seed, 64)
            frame = edit(frame) if name == split else frame
            frame.write_parquet(tmp_path / f"{name}.parquet")
        folders = (f"data.manual_dir={tmp_path}", f"data.data_dir={tmp_path / 'data'}")
        overrides = (f"data.dataset={dataset}", *folders)
        message = refused(TINY, *(f"--config.{o}" for o in overrides))
        assert not list((tmp_path / "data").rglob("*.array_record*"))  # nothing half prepared
        return one_line(message)

    return call


@pytest.mark.parametrize(
    ("split", "edit", "told"),
    [
        ("train", lambda f: f.rename({"price": "cost"}), "'price': unknown column 'price'"),
        ("validation", lambda f: f.with_columns(price=pl.lit("dear")), "column 'price': 'dear'"),
        ("test", lambda f: f.drop("click"), "label of 'click': unknown column 'click'"),
        *(
            (
                "validation",
                lambda f, value=value: f.with_columns(
                    click=pl.when(pl.int_range(pl.len()) == 40).then(value).otherwise("click")
                ),
                f"column 'click': {shown}",
            )
            for value, shown in ((2, "2"), (-1, "-1"), (0.5, "'0.5'"))
        ),
    ],
)
def test_raw_columns_that_are_wrong(prepare, split, edit, told):
    message = prepare(split, edit)
    assert told in message


def test_a_label_listed_as_a_field(prepare):
    message = prepare("", None, dataset="leaky")
    assert message.startswith("leaky.yaml, line 3: field 'buy': 'buy' is a label and cannot also")


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split(prepare, split):
    message = prepare(split, lambda frame: frame[:0])
    assert f"the {split} split is empty" in message
