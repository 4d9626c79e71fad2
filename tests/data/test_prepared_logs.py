"""A prepared log holds its raw rows: every id, number, label and group, in the files' order."""

import concurrent.futures
import itertools
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from shop_log import SCHEMA, everything, prepared, rows, schema_file, small_pieces, write

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.work import stages
from dtn_jax.input.reader import SplitReader

FRAME = rows(1500)
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        return prepared(tmp_path_factory.mktemp("shop"), FRAME)


@pytest.fixture(scope="module")
def split_frames():
    """The rows of each split: the last of the ten days is test, the one before validation."""
    day = pl.col("t").dt.day()
    return {
        "train": FRAME.filter(day < 9),
        "validation": FRAME.filter(day == 9),
        "test": FRAME.filter(day == 10),
    }


def batch(shop, split):
    return SplitReader(shop, split).everything()


def slots(shop, field):
    """Where a field's slots are."""
    start = 0
    for found in shop.schema.fields:
        if found.name == field:
            return slice(start, start + found.slots)
        start += found.slots
    raise AssertionError(field)


def vocabulary(shop, table):
    """{text: row} of a vocabulary, read from its files."""
    folder = shop.folder / "vocabulary"
    found = pa.ipc.open_file(folder / f"{table}.arrow").read_all()
    shown = pa.ipc.open_file(folder / f"{table}.values.arrow").read_all()
    return dict(zip(shown["value"].to_pylist(), found["row"].to_pylist(), strict=True))


def test_the_rows_are_those_of_the_log_in_its_order(shop, split_frames):
    assert shop.rows == {split: len(frame) for split, frame in split_frames.items()}
    for split, frame in split_frames.items():
        found = batch(shop, split)
        np.testing.assert_array_equal(shop.groups(split), frame["user"].to_numpy())
        assert shop.kept_values[split]["user"] == len(frame)  # each counted once, by one shard
        np.testing.assert_array_equal(found.labels[:, 0], frame["click"].to_numpy())
        np.testing.assert_array_equal(found.labels[:, 1], frame["order"].to_numpy())
        known = frame["click"].to_numpy() == 1
        np.testing.assert_array_equal(found.label_mask[:, 2], known)
        expected = np.where(known, np.log1p(frame["seconds"].to_numpy()), 0)
        np.testing.assert_allclose(found.labels[:, 2], expected, rtol=1e-6)


def test_a_vocabulary_has_the_values_that_train_shows_often_enough(shop, split_frames):
    counts = split_frames["train"]["user"].value_counts().filter(pl.col("count") >= 2)
    known = vocabulary(shop, "user")
    assert set(known) == {str(user) for user in counts["user"]}
    by_row = [int(user) for user, _ in sorted(known.items(), key=lambda kv: kv[1])]
    often = dict(counts.iter_rows())
    assert [often[user] for user in by_row] == sorted(often.values(), reverse=True)
    for split, frame in split_frames.items():
        expected = [known.get(str(user), 0) for user in frame["user"]]
        np.testing.assert_array_equal(
            batch(shop, split).ids[:, slots(shop, "user")][:, 0], expected
        )


def test_a_bag_shares_the_items_table_and_keeps_its_first_values(shop, split_frames):
    train = split_frames["train"]
    every = pl.concat([train["item"], train["seen"].list.head(3).explode().drop_nulls()])
    often = {v for v, n in every.value_counts().iter_rows() if n >= 2}
    known = vocabulary(shop, "item")
    assert set(known) == {str(value) for value in often}
    for split, frame in split_frames.items():
        found = batch(shop, split)
        ids = [[known.get(str(v), 0) for v in bag[:3]] for bag in frame["seen"]]
        expected = [bag + [-1] * (3 - len(bag)) for bag in ids]
        np.testing.assert_array_equal(found.ids[:, slots(shop, "seen")], expected)
        weights = [bag[:3] + [0] * (3 - len(bag[:3])) for bag in frame["seen_weights"].to_list()]
        np.testing.assert_allclose(found.weights, weights)


def test_numbers_are_bucketed_or_standardised_by_train(shop, split_frames):
    train = split_frames["train"]
    mean, deviation = train["speed"].mean(), train["speed"].std(ddof=0)
    vectors = np.array([v for v in train["embedding"].to_list() if v is not None])
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    for split, frame in split_frames.items():
        found = batch(shop, split)
        speed = (frame["speed"].to_numpy() - mean) / deviation
        np.testing.assert_allclose(found.numeric[:, 0], speed, rtol=1e-4, atol=1e-6)
        there = frame["embedding"].is_not_null().to_numpy()
        np.testing.assert_array_equal(found.ids[:, slots(shop, "embedding")][:, 0], there)
        expected = np.zeros((len(frame), 3))
        expected[there] = (np.array(frame["embedding"].drop_nulls().to_list()) - centre) / spread
        np.testing.assert_allclose(found.numeric[:, 1:], expected, rtol=1e-4, atol=1e-5)
    price = batch(shop, "train").ids[:, slots(shop, "price")][:, 0]
    ranks = [train["price"].to_numpy()[price == row] for row in range(1, 9)]
    assert all(a.max() < b.min() for a, b in itertools.pairwise(ranks))
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 6  # equal prices stay together


def test_hashed_values_have_a_row_for_each_function(shop, split_frames):
    frame = split_frames["test"]
    found = batch(shop, "test").ids[:, slots(shop, "query")]
    made, _ = keys.keys(frame["query"])
    for function in range(2):
        expected = 1 + keys.hashed_rows(made, 50, function)
        np.testing.assert_array_equal(found[:, function], expected.astype(np.int64))
    assert (found[:, 0] != found[:, 1]).mean() > 0.9


def test_a_cross_tells_pairs_apart(shop, split_frames):
    frame = split_frames["train"]
    found = batch(shop, "train").ids[:, slots(shop, "user_x_hour")][:, 0]
    pairs = {}
    for pair, row in zip(zip(frame["user"], frame["t"].dt.hour(), strict=True), found, strict=True):
        assert pairs.setdefault(pair, row) == row
    assert len(set(pairs.values())) == 40  # every row is used


def test_midnight_is_a_value(shop, split_frames):
    found = batch(shop, "train").ids[:, slots(shop, "hour")][:, 0]
    assert (found > 0).all()
    assert len(set(found[split_frames["train"]["t"].dt.hour().to_numpy() == 0])) == 1


def test_a_table_in_memory_gives_the_set_of_its_file(shop, tmp_path):
    schema = schema_file(tmp_path)
    for name, table in (
        ("polars", FRAME),
        ("lazy", FRAME.lazy()),
        ("arrow", FRAME.to_arrow()),
    ):
        made = logs.prepare(schema, table, tmp_path / name, processes=1)
        assert made.rows == shop.rows
        for split in SPLITS:
            np.testing.assert_array_equal(batch(made, split).ids, batch(shop, split).ids)
        assert not list((tmp_path / name).rglob("table*.parquet"))


@pytest.mark.parametrize("machines", [1, 3])
def test_any_number_of_processes_and_machines_makes_the_same_bytes(
    shop, tmp_path, monkeypatch, machines
):
    small_pieces(monkeypatch)
    monkeypatch.setattr("dtn_jax.datasets.logs.work.machines.WAIT_SECONDS", 0.02)
    monkeypatch.setattr("dtn_jax.datasets.logs.work.team.SMALL_ROWS", 0)
    source, schema = write(shop.folder.parents[3] / "raw", FRAME), schema_file(tmp_path)
    if machines == 1:
        logs.prepare(schema, source, tmp_path, processes=3)
    else:
        with concurrent.futures.ThreadPoolExecutor(machines) as threads:
            done = [
                threads.submit(
                    logs.prepare, schema, source, tmp_path, processes=1, machine=(place, machines)
                )
                for place in range(machines)
            ]
            assert len({future.result().fingerprint for future in done}) == 1
    home = tmp_path / "logs" / "shop"
    assert [path.name for path in home.iterdir()] == ["1.0.0"]
    assert everything(home) == everything(shop.folder.parent)


def test_little_memory_makes_the_same_bytes(shop, tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    monkeypatch.setattr("dtn_jax.datasets.logs.fit.fit_unit.ENTRY", 10_000_000)
    monkeypatch.setattr("dtn_jax.datasets.logs.fit.merge.ENTRY", 100_000_000)
    source = str(shop.folder.parents[3] / "raw" / "*.parquet")
    made = logs.prepare(schema_file(tmp_path), source, tmp_path, processes=1)
    assert everything(made.folder) == everything(shop.folder)


class Killed(Exception):
    pass


def test_a_killed_command_resumes_where_it_was_and_makes_the_same_bytes(
    shop, tmp_path, monkeypatch
):
    small_pieces(monkeypatch)
    source, schema = str(shop.folder.parents[3] / "raw" / "*.parquet"), schema_file(tmp_path)
    done, tasks = [], dict(stages.TASKS)

    def dying(stage):
        def task(job, index):
            if len(done) in (3, 8, 14) and ("died", len(done)) not in done:
                done.append(("died", len(done)))
                raise Killed
            rows = tasks[stage](job, index)
            done.append((stage, index))
            return rows

        return task

    monkeypatch.setattr(stages, "TASKS", {stage: dying(stage) for stage in tasks})
    for _ in range(3):
        with pytest.raises(Killed):
            logs.prepare(schema, source, tmp_path, processes=1)
        assert not (tmp_path / "logs" / "shop" / "1.0.0").exists()
    made = logs.prepare(schema, source, tmp_path, processes=1)
    assert everything(made.folder) == everything(shop.folder)
    finished = [task for task in done if task[0] != "died"]
    assert len(finished) == len(set(finished))  # nothing twice


def test_the_account_and_the_days_are_kept(shop, split_frames):
    notes = json.loads((shop.folder / "notes.json").read_text())
    assert notes["read"] == 1500
    assert notes["rejected"] == {}
    days = dict(notes["days"]["rows"])
    expected = FRAME["t"].dt.date().value_counts().sort("t")
    assert list(days.values()) == expected["count"].to_list()
    clicked = sum(total for _, _, total in notes["days"]["sums"]["click@all"])
    assert clicked == FRAME["click"].sum()
    ordered = sum(count for _, count, _ in notes["days"]["sums"]["order@click"])
    assert ordered == FRAME["click"].sum()


def test_a_comment_in_the_schema_file_changes_nothing(shop, tmp_path):
    source = str(shop.folder.parents[3] / "raw" / "*.parquet")
    schema = schema_file(tmp_path, f"# mine\n{SCHEMA}")
    again = logs.prepare(schema, source, shop.folder.parents[2], processes=1)
    assert again.folder == shop.folder
