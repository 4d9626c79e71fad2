"""Processes of one machine: how many work, and that all stages have the same ones."""

import inspect
import os
from types import SimpleNamespace

import pytest
from shop_log import rows, schema_file, small_pieces, write

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.work import pool, team
from dtn_jax.errors import UserError


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A log of 8 units, its schema file, and where its set will be."""
    small_pieces(monkeypatch)
    return schema_file(tmp_path), write(tmp_path / "raw", rows(1500)), tmp_path / "data"


def test_processes_go_on_from_one_run_to_the_next():
    with pool.Pool(2) as two:
        first = set(two.run(os.getpid, [()] * 8))
        assert set(two.run(os.getpid, [()] * 8)) <= first | set(two._executor._processes)
        assert len(first | set(two._executor._processes)) <= 2
        assert os.getpid() not in first
        assert list(two.run(os.getpid, [()])) == [os.getpid()]


def test_a_killed_worker_is_told():
    told = pytest.raises(UserError, match=r"a process was killed.*fewer --processes")
    with told, pool.Pool(2) as two:
        list(two.run(os._exit, [(1,), (1,)]))


def test_a_small_log_starts_no_process(shop, monkeypatch, capsys):
    monkeypatch.setattr(pool.Pool, "_started", None)
    logs.prepare(*shop, processes=2)
    assert "1 process: below 1,000,000 rows, others take longer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cores", "asked", "memory_gb", "told"),
    [
        (2, 32, 4.0, "7 processes, as many as --memory_gb=4 feeds; 15 GB would feed all 32"),
        (64, 0, 4.0, "7 processes, as many as --memory_gb=4 feeds; 30 GB would feed all 64"),
        (2, 0, 1.2, "1 process, as many as --memory_gb=1.2 feeds; 2 GB would feed all 2"),
        (64, 7, 4.0, ""),
        (2, 0, 4.0, ""),
    ],
)
def test_fewer_processes_than_asked_for_are_told(
    shop, monkeypatch, capsys, cores, asked, memory_gb, told
):
    monkeypatch.setattr(team, "SMALL_ROWS", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    monkeypatch.setattr(pool.Pool, "run", lambda _, do, tasks: (do(*task) for task in tasks))
    logs.prepare(*shop, processes=asked, memory_gb=memory_gb)
    shown = capsys.readouterr().out
    assert told in shown
    assert ("feeds" in shown) == bool(told)


def test_the_memory_that_is_told_is_enough():
    for wanted in range(2, 300):
        for memory_gb in (1.05, 4.0, 20.0):
            if team.workers(wanted, memory_gb) < wanted:
                assert team.workers(wanted, float(team.enough(wanted))) == wanted
                assert team.workers(wanted, max(1.05, team.enough(wanted) - 1.01)) < wanted


def test_both_passes_know_how_many_rows_they_have(shop, monkeypatch):
    """So that the time left is shown; without a file whose rows are known only once it is read."""
    shown, count = {}, team.progress.Rows.count

    def counted(self, items, what, total=0, **options):
        done = list(count(self, items, what, total, **options))
        shown[what] = (total, sum(options["rows"](item) for item in done))
        return done

    monkeypatch.setattr(team.progress.Rows, "count", counted)
    made = logs.prepare(*shop, processes=1)
    assert sum(made.rows.values()) == 1500
    assert shown["pass 1 of 2: fit"] == (1500, 1500)
    assert shown["pass 2 of 2: write"] == (1500, 1500)


@pytest.mark.parametrize(
    ("stage", "tasks", "rows"),
    [
        ("fit", [0, 1], 70),
        ("fit", [1, 2], 0),
        ("fit", [], 0),
        ("encode", [0, 1], 105),
        ("encode", [1], 50),
        ("encode", [], 0),
    ],
)
def test_the_rows_of_a_stage(stage, tasks, rows):
    units = [SimpleNamespace(rows=n) for n in (30, 40, -1)]
    merged = {"counts": [[20, 5, 5], [20, 5, 0], [40, 5, 5]], "shards": [0, 2, 3]}
    job = SimpleNamespace(units=units, merged=merged)
    assert inspect.unwrap(team.rows_of)(job, stage, tasks) == rows
