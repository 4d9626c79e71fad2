"""A data set in one file: frames or files and a schema become a prepared set; what is refused."""

import json
import threading

import numpy as np
import polars as pl
import pytest
from shop import prepare, rows_of
from toy_set import Toy

from dtn_jax.data.blocks import Layout
from dtn_jax.data.sets import catalog
from dtn_jax.data.stages import frames
from dtn_jax.data.stages.frames import FOLDER, LOCK
from dtn_jax.errors import UserError
from dtn_jax.schema import Task


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(catalog.DATASETS, "toy", Toy)
    monkeypatch.delenv("DTN_MANUAL_DIR", raising=False)


def test_prepared_rows_are_the_raw_rows_in_order_and_counted(splits, tmp_path, capfd):
    data = prepare(splits, tmp_path)
    assert data.rows == {"train": 101, "validation": 24, "test": 7}
    assert data.layout == Layout(lanes=3, block_rows=4)
    assert [f.name for f in data.schema.fields] == ["word", "size", "speed", "id"]
    assert data.schema.tasks == (Task("click"), Task("seconds", "regression"))
    assert data.schema.weight == "w"
    assert data.groups("train") is data.days("train") is None
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


def left(home):
    return {p.name for p in home.iterdir()} - {LOCK}


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
    assert left(home) == {"1.0.0"}
