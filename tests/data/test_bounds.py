"""What a command holds at a time does not grow with the number of units."""

import errno
import importlib
import json
import os
import resource
import tracemalloc

import numpy as np
import polars as pl
import pytest
import shop_log
from shop_log import schema_file, small_pieces

from dtn_jax.datasets.logs import mapped
from dtn_jax.datasets.logs.fit import merge
from dtn_jax.datasets.logs.rows import by_user, user_order
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.schema import schema_file as schema_files
from dtn_jax.datasets.logs.work.begin import told
from dtn_jax.datasets.logs.work_folder import Work, whole
from dtn_jax.errors import UserError

engine = importlib.import_module("dtn_jax.datasets.logs.prepare")
MINUTE = 60_000_000


def work(folder, units, lines="", fields="user: "):
    """The work of a log of so many units, none of which is done."""
    text = f"name: log\nfields: {{{fields}}}\ntasks: {{click: }}\ngroup: user\ntime: t\n{lines}"
    spec = schema_files.load(schema_file(folder, text))
    return Work(folder, spec, [], [None] * units, "date", 1, 1)


def peak(do):
    """The most bytes that a call held at a time."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def timed(tmp_path):
    """The work of a log whose units have rows in 20,000 minutes each."""

    def made(units):
        job = work(tmp_path / f"{units}", units)
        (job.folder / "times").mkdir()
        for unit in range(units):
            times = (np.arange(20_000) + unit * 300) * MINUTE
            mapped.save(job.of("times", unit), np.stack([times, np.full(20_000, 10)]))
        return job

    return made


def test_the_times_of_one_unit_are_held_at_a_time(timed):
    few, many = timed(2), timed(30)
    assert peak(lambda: engine._cuts(many)) < 2 * peak(lambda: engine._cuts(few))


@pytest.fixture
def ordered(tmp_path):
    """(rows of each unit, validation: rows, test: rows) -> the work, with the rows collected."""

    def made(each, validation=2, test=1, name="log", users=40):
        split = f"split: {{by: user_order, validation: {validation}, test: {test}}}\n"
        job = work(tmp_path / name, len(each), split)
        draw = np.random.default_rng(3)
        for unit, count in enumerate(each):
            folder = job.of("order", unit)
            folder.mkdir(parents=True)
            user, time = draw.integers(0, users, count), draw.integers(0, 50, count)
            places = np.array_split(np.arange(count), max(count // 1_000, count // 7 % 100, 1))
            user_order.collect((rows(user[at], time[at]) for at in places), folder)
        return job

    return made


def rows(user, time):
    """Good rows of which only the user and the time are known."""
    labels = np.zeros((len(user), 0), np.float32)
    told = {"labels": labels, "time": time, "group": pl.Series(user), "weight": None, "split": None}
    return Rows({}, {}, numbers=np.arange(len(user)), **told)


def decided(job, name="ordered"):
    folder = job.folder / name
    folder.mkdir()
    user_order.decide(job, folder)
    return [np.load(folder / f"{unit:05d}.npy") for unit in range(len(job.units))]


def test_a_split_depends_on_neither_the_files_nor_the_ranges_of_users(ordered, monkeypatch):
    each = (90, 0, 1, 200, 77)
    whole = decided(ordered(each))
    monkeypatch.setattr(by_user, "RUN_ROWS", 20)
    monkeypatch.setattr(by_user, "PART_ROWS", 30)
    job = ordered(each, name="again")
    assert len(list(job.of("order", 3).glob("*.npy"))) == 10
    parted = decided(job)
    for one, other, count in zip(whole, parted, each, strict=True):
        assert len(one) == count
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.bincount(np.concatenate(whole)), [368 - 120, 80, 40])


def test_a_split_by_the_order_of_users_opens_one_file_at_a_time(ordered):
    job = ordered([20] * 60)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 12
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        assert sum(map(len, decided(job))) == 1200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_split_by_the_order_of_users_holds_a_range_of_them(ordered, monkeypatch):
    monkeypatch.setattr(by_user, "PART_ROWS", 5_000)
    few, many = (ordered([10_000] * n, name=f"{n}", users=4_000) for n in (2, 20))
    assert peak(lambda: decided(many)) < peak(lambda: decided(few)) + 10**6


def test_a_unit_of_any_size_is_collected_in_files(ordered, monkeypatch):
    monkeypatch.setattr(by_user, "RUN_ROWS", 1_000)
    few = peak(lambda: ordered([5_000], name="few"))
    assert (
        peak(lambda: ordered([50_000], name="many")) < few + 50_000 * 32
    )  # what the test itself holds


def test_too_many_open_files_are_told_as_such(tmp_path):
    job = work(tmp_path, 1)
    more = pytest.raises(UserError, match=r"Too many open files.*where more files may be open")
    with more, told(job.spec, tmp_path), whole(tmp_path / "x.npy"):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.fixture
def fitted(tmp_path):
    """(units) -> the work of a log of vectors, of which each unit's facts are written."""

    def made(units):
        job = work(tmp_path / f"{units}", units, fields="vec: {kind: vector, length: 500}")
        one = np.linspace(0, 1, 500).tolist()
        facts = {"counts": [8, 1, 1], "every": [8, 1, 1], "longest": {}, "parts": {}}
        facts["moments"] = {"vec": [8, one, one]}
        for unit in range(units):
            job.of("fit", unit).mkdir(parents=True)
            (job.of("fit", unit) / "facts.json").write_text(json.dumps(facts))
        return job

    return made


def test_the_facts_of_one_unit_are_held_at_a_time(fitted):
    few, many = fitted(3), fitted(60)
    least = peak(lambda: merge.finish(few, few.folder, {}, {}))
    assert peak(lambda: merge.finish(many, many.folder, {}, {})) < least + 10**6
    made = json.loads((many.folder / "merged.json").read_text())
    assert made["rows"] == {"train": 480, "validation": 60, "test": 60}
    assert made["every"] == [480, 60, 60]
    np.testing.assert_allclose(made["encoders"]["vec"]["mean"], np.linspace(0, 1, 500))


def test_bad_rows_are_no_facts_of_a_unit(tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    frame = shop_log.rows(600).with_columns(click=pl.Series([0, 1, 7] * 200), order=0)
    facts = []

    def kept(job, _team):
        facts.extend((job.of("fit", unit) / "facts.json").read_text() for unit in range(3))
        assert len(job.fitted(0, "rejects")["kept"]) == 66
        merging(job, _team)

    merging = engine.merge_statistics
    monkeypatch.setattr(engine, "merge_statistics", kept)
    made = shop_log.prepared(tmp_path, frame, max_reject_rate=0.5)
    assert made.notes["rejected"]
    assert sum(made.notes["rejected"].values()) == 200
    assert len((made.folder / "rejects.jsonl").read_text().splitlines()) == 200
    for text in facts:
        assert "part-000" not in text
        assert len(text) < 1_000
