"""Making histories holds a range of users at a time, whatever the size of the log."""

import dataclasses
import tracemalloc

import numpy as np
import polars as pl
import pytest
from shop_log import schema_file

from dtn_jax.datasets.logs.rows import by_user, kept_events, user_histories
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.schema import schema_file as schema_files
from dtn_jax.datasets.logs.work_folder import Work

SCHEMA = """
name: log
fields: {item: , seen: {history: {of: item, where: click == 1, last: 5}}}
tasks: [click]
group: user
time: t
"""
EACH, COMPANIONS = 10_000, 20


@pytest.fixture
def collected(tmp_path):
    """(units) -> the work, with the events of so many units of EACH rows collected."""

    def made(units, schema=SCHEMA):
        folder = tmp_path / f"{units}_{len(schema)}"
        spec = schema_files.load(schema_file(folder, schema))
        job = Work(folder, spec, [], [None] * units, "date", 1, 1)
        draw = np.random.default_rng(1)
        for unit in range(units):
            place = job.of("events", unit)
            place.mkdir(parents=True)
            user_histories.collect(spec, [rows(draw)], place)
        return job

    return made


def rows(draw):
    """Good rows of which only what histories need is known."""
    user = pl.Series(draw.integers(0, 4_000, EACH))
    told = {"labels": np.zeros((EACH, 0), np.float32), "group": None, "weight": None, "split": None}
    return Rows(
        {"item": pl.Series(draw.integers(0, 50, EACH))},
        {},
        numbers=np.arange(EACH),
        time=draw.integers(0, 10**6, EACH),
        user=user,
        events={"seen": draw.random(EACH) < 0.5},
        beside={f"c{n}": pl.Series(draw.integers(0, 9, EACH)) for n in range(COMPANIONS)},
        **told,
    )


def peak(job, name=user_histories.FOLDER):
    tracemalloc.start()
    try:
        user_histories.build(job, job.folder / name)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_histories_are_made_from_a_range_of_users_at_a_time(collected, monkeypatch):
    monkeypatch.setattr(by_user, "PART_ROWS", 5_000)
    few, many = peak(collected(2)), peak(collected(20))
    assert many < few + 10**6


def test_events_that_an_older_set_kept_are_in_memory_a_range_at_a_time(collected, monkeypatch):
    """However few rows the new log has."""
    monkeypatch.setattr(by_user, "PART_ROWS", 5_000)
    job, dtype = collected(1), kept_events.row_type(collected(2).spec)
    draw = np.random.default_rng(2)

    def extending(count):
        older = np.zeros(count, dtype)
        older["user"] = np.sort(draw.integers(0, 2**64, count, np.uint64, endpoint=False))
        older["event seen"] = True
        folder = job.folder / f"older_{count}"
        folder.mkdir()
        older.tofile(folder / kept_events.FILE)
        return peak(dataclasses.replace(job, extends=folder), f"of_{count}")

    assert extending(400_000) < extending(20_000) + 10**6


def test_a_whole_log_in_memory_would_be_noticed(collected):
    few, many = peak(collected(2)), peak(collected(20))
    assert many > few + 5 * 10**6


def test_long_rows_take_no_more_memory(collected, monkeypatch):
    monkeypatch.setattr(by_user, "PART_ROWS", 100_000)
    more = "".join(f", c{n}: {{beside: seen, value: x}}" for n in range(COMPANIONS))
    long = SCHEMA.replace("last: 5}}}", "last: 5}}" + more + "}")
    assert peak(collected(10, long)) < 1.3 * peak(collected(10))
