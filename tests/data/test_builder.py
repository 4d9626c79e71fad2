"""From raw frames to a prepared set on disk."""

import json
import pathlib

import numpy as np
import polars as pl
import pytest
from shop import ENCODERS, TASKS, prepare, rows_of, shop_frame

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.catalog import cache_folder
from dtn_jax.errors import UserError


def test_prepared_rows_are_the_raw_rows_in_order(splits, tmp_path):
    data = prepare(splits, tmp_path)
    assert data.rows == {"train": 101, "validation": 24, "test": 7}
    fitted = enc.fit(ENCODERS, splits["train"])
    assert data.encoders() == fitted
    assert [f.name for f in data.schema.fields] == ["word", "size", "speed", "id"]
    assert data.schema.tasks == TASKS
    assert data.schema.weight == "w"
    for split, frames in splits.items():
        frame, got = pl.concat(frames), rows_of(data, split)
        for slot, (name, encoder) in enumerate(fitted.items()):
            np.testing.assert_array_equal(got["ids"][:, slot], encoder.encode(frame[name]))
        np.testing.assert_array_equal(got["numeric"][:, 0], fitted["speed"].values(frame["speed"]))
        np.testing.assert_array_equal(got["sample_weight"], frame["w"].to_numpy())
        click, seconds = frame["click"], frame["seconds"].fill_nan(None)
        known = np.stack([click.is_not_null(), seconds.is_not_null()], axis=1)
        np.testing.assert_array_equal(got["label_mask"], known)
        labels = [click.fill_null(0).to_numpy(), seconds.fill_null(0).to_numpy()]
        np.testing.assert_array_equal(got["labels"], np.float32(np.stack(labels, axis=1)))
        assert {k: v.dtype.name for k, v in got.items()} == {
            "ids": "int32",
            "labels": "float32",
            "label_mask": "uint8",
            "numeric": "float32",
            "sample_weight": "float32",
        }


def test_prepared_json_holds_the_facts(splits, tmp_path):
    data = prepare(splits, tmp_path)
    facts = json.loads((data.folder / "prepared.json").read_text())
    assert facts["layout"] == {"lanes": 3, "block_rows": 4}
    assert facts["rows"] == {"train": 101, "validation": 24, "test": 7}
    unknown = {
        split: {"word": 0, "size": 0, "speed": 0, "id": int((~frame["id"].is_between(1, 5)).sum())}
        for split, frame in ((s, pl.concat(f)) for s, f in splits.items())
    }
    unknown["test"]["word"] = 3  # two that train did not show and one that is missing
    assert facts["unknown_values"] == data.unknown_values == unknown
    for split, frames in splits.items():
        frame = pl.concat(frames)
        assert facts["missing_labels"][split] == {
            "click": frame["click"].null_count(),
            "seconds": -(-len(frame) // 5),
        }
    assert len(facts["fingerprint"]) == 64
    assert data.fingerprint == facts["fingerprint"]
    assert data.notes == {"shops": 1}
    on_disk = {p.name: p.stat().st_size for p in data.folder.iterdir()}
    assert {n for n in on_disk if "array_record" in n} | {"encoders.json"} == set(facts["files"])
    assert all(on_disk[n] == size for n, size in facts["files"].items())
    # All that lies there is JSON or records: no pickles.
    for name in on_disk:
        if "array_record" not in name:
            json.loads((data.folder / name).read_text())


def test_row_bytes_counts_every_array_of_a_batch(splits, tmp_path):
    data = prepare(splits, tmp_path)
    # Four ids, one number, two labels, the weight: 4 bytes each; two label masks and the row mask.
    assert data.row_bytes() >= 4 * (4 + 1 + 2 + 1) + 2 + 1


def test_the_fingerprint_is_that_of_the_values(splits, tmp_path):
    first = prepare(splits, tmp_path / "1")
    assert prepare(splits, tmp_path / "2").fingerprint == first.fingerprint
    # The same rows in other chunks.
    cut = {s: list(pl.concat(f).iter_slices(5)) for s, f in splits.items()}
    assert prepare(cut, tmp_path / "3").fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("split", "column", "value"),
    [
        ("train", "speed", 0.123),
        ("train", "word", "b"),
        ("validation", "click", 1),
        ("validation", "seconds", None),
        ("test", "w", 99),
        ("test", "id", 5),
    ],
)
def test_the_fingerprint_changes_with_one_value(splits, tmp_path, split, column, value):
    before = prepare(splits, tmp_path / "1").fingerprint
    frame = splits[split][-1]
    row = next(i for i, v in enumerate(frame[column]) if v != value and v == v and v is not None)
    values = frame[column].to_list()
    values[row] = value
    changed = frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype))
    assert (changed[column].to_list() != frame[column].to_list()) or column == "seconds"
    splits[split] = [*splits[split][:-1], changed]
    assert prepare(splits, tmp_path / "2").fingerprint != before


def test_encoders_see_train_alone(splits, tmp_path):
    first = prepare(splits, tmp_path / "1")
    other = shop_frame(24, seed=9).with_columns(word=pl.lit("zzz"), size=pl.lit(1_000))
    second = prepare(splits | {"validation": [other]}, tmp_path / "2")
    assert second.encoders() == first.encoders()
    assert second.unknown_values["validation"]["word"] == 24


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("frames", ["none", "one without rows"])
def test_an_empty_split(splits, tmp_path, split, frames):
    splits[split] = [] if frames == "none" else [splits[split][0].clear()]
    with pytest.raises(UserError, match=f"the {split} split is empty"):
        prepare(splits, tmp_path)
    assert not list(tmp_path.rglob("*.json"))  # nothing half prepared is left


def test_train_is_checked_before_the_encoders_see_it(splits, tmp_path):
    late = splits["train"][-1]
    splits["train"][-1] = late.drop("size")
    with pytest.raises(UserError, match="shop/train: column 'size' is missing"):
        prepare(splits, tmp_path)
    splits["train"][-1] = late.with_columns(size=pl.lit("many"))
    with pytest.raises(UserError, match="shop/train: column 'size' must be numeric, got String"):
        prepare(splits, tmp_path)


def test_a_bad_label_is_found_by_its_row(splits, tmp_path):
    frame = splits["train"][-1]
    bad = frame["click"].to_list()
    bad[2] = 3
    splits["train"][-1] = frame.with_columns(click=pl.Series(bad))
    with pytest.raises(UserError, match="shop/train: label 'click' is 3 in row 43"):
        prepare(splits, tmp_path)


def test_the_cache_folder_is_the_users(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == pathlib.Path("/somewhere/dtn_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == pathlib.Path("/home/me/.cache/dtn_jax")
