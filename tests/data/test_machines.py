"""Machines that share the work on a log: one that fails, or is told of another number of them."""

import concurrent.futures
import importlib
import time

import pytest
from shop_log import SCHEMA, everything, rows, schema_file, small_pieces, write

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.work import machines
from dtn_jax.datasets.logs.work.machines import Machines, OtherMachine
from dtn_jax.errors import UserError

engine = importlib.import_module("dtn_jax.datasets.logs.prepare")
NO_TEST = SCHEMA + "split: {by: time, validation: 2026-03-09, test: 2027-01-01}\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    small_pieces(monkeypatch)
    monkeypatch.setattr(machines, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(machines, "PATIENCE_SECONDS", 0.2)


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "raw", rows(1500))


def start(threads, schema, source, folder, *machines):
    """The same call on each machine, (place, count)."""
    return [
        threads.submit(logs.prepare, schema, source, folder, processes=1, machine=machine)
        for machine in machines
    ]


def test_a_machine_that_fails_ends_those_that_wait_for_it(tmp_path, source):
    schema = schema_file(tmp_path, NO_TEST)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        first, second = start(threads, schema, source, tmp_path, (0, 2), (1, 2))
        with pytest.raises(UserError, match="the test split is empty"):
            first.result(timeout=240)
        with pytest.raises(OtherMachine, match=r"^machine 1 of 2 failed: .*test split is empty"):
            second.result(timeout=240)


def test_the_next_start_of_a_machine_that_failed_removes_its_failure(tmp_path, source, monkeypatch):
    schema = schema_file(tmp_path)

    def fails(*_):
        raise UserError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "merge_statistics", fails)
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            for done in start(threads, schema, source, tmp_path, (0, 2), (1, 2)):
                with pytest.raises(UserError, match="no luck"):
                    done.result(timeout=240)
    monkeypatch.setattr(machines, "PATIENCE_SECONDS", 240.0)  # until the first has begun again
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        made = [d.result() for d in start(threads, schema, source, tmp_path, (0, 2), (1, 2))]
    assert [path.name for path in made[0].folder.parent.iterdir()] == ["1.0.0"]
    alone = logs.prepare(schema, source, tmp_path / "alone", processes=1)
    assert everything(alone.folder) == everything(made[1].folder)


def test_another_number_of_machines_is_refused(tmp_path, source, monkeypatch, capsys):
    schema = schema_file(tmp_path)
    monkeypatch.setattr(machines, "SAY_SECONDS", 0.0)
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        first, other = start(threads, schema, source, tmp_path, (0, 2), (1, 3))
        with pytest.raises(
            OtherMachine, match=r"--shard=2/3: the first .* --shard=1/2 on .*same N"
        ):
            other.result(timeout=240)
        shown, end = "", time.monotonic() + 240
        while "waiting for 4 units of machine 2 of 2" not in shown:  # before it even begins
            assert time.monotonic() < end
            time.sleep(0.05)
            shown += capsys.readouterr().out
        (second,) = start(threads, schema, source, tmp_path, (1, 2))
        assert first.result(timeout=240).rows == second.result(timeout=240).rows


def test_the_first_machine_may_go_on_with_another_number(tmp_path, source, monkeypatch):
    schema = schema_file(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "check_rejects", lambda *_: 1 / 0)
        with concurrent.futures.ThreadPoolExecutor(3) as threads:
            for done in start(threads, schema, source, tmp_path, (0, 3), (1, 3), (2, 3)):
                with pytest.raises((ZeroDivisionError, OtherMachine)):
                    done.result(timeout=240)
    made = logs.prepare(schema, source, tmp_path, processes=1)
    assert not list(made.folder.parent.glob("unfinished-*"))


def test_what_is_waited_for_is_told_by_machine(tmp_path):
    four = Machines(0, 4, tmp_path)
    assert four.shares([], "unit") == ""
    assert four.shares([1, 5, 9], "unit") == "3 units of machine 2 of 4"
    assert four.shares([2, 3, 7], "shard") == (
        "1 shard of machine 3 of 4, 2 shards of machine 4 of 4"
    )
    assert four.shares(range(4), "unit").endswith("1 unit of machine 3 of 4 and others")
