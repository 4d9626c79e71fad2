"""The runs of tables: each done once, by whichever process, and waited for only where need be."""

import contextlib
import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest
import untrained_tables

from dtn_jax.errors import UserError
from experiments.tables import cells, jobs, kept, pack
from experiments.tables.work import Work

pytest_plugins = ["table_fixtures"]

ROOT = pathlib.Path(__file__).parents[2]


def test_what_another_process_tunes_keeps_nothing_else_waiting(call, untrained, monkeypatch):
    tune, order = Work.tune, []

    def slow(work, name, label):
        if name == "dtn" and len(order) < 2:
            return False  # as if another process did it
        return tune(work, name, label)

    def train(config, data, run):
        order.append(config.model.architecture)
        return untrained(config, data, run)

    monkeypatch.setattr(Work, "tune", slow)
    monkeypatch.setattr(jobs, "LOOK", 0)
    monkeypatch.setattr(cells, "compute", train)
    call("--seeds=2")
    assert order == ["shared_bottom"] * 2 + ["dtn"] * 2


def test_an_entry_that_cannot_be_locked_is_not_waited_for(call, untrained, monkeypatch):
    locked = kept.locked

    def full(path):
        if path.name.startswith("dtn"):
            raise OSError(28, "No space left on device")
        return locked(path)

    monkeypatch.setattr(kept, "locked", full)
    monkeypatch.setattr(jobs.time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(UserError, match=r"tuning dtn: .*No space left on device; make room"):
        call("--seeds=1")


def test_two_processes_never_do_the_same(tmp_path):
    """What another one does is left to it, and looked at again when all else is done."""
    done, held = [], threading.Event()

    def job(name):
        def do(label):
            with kept.alone(tmp_path / f"{name}.lock") as alone:
                if alone:
                    done.append(name)
                    if name == "c":
                        held.set()
            return alone

        return do

    rounds = [{"a": job("a"), "b": job("b")}, {"c": job("c")}]
    yielded = []
    with kept.alone(tmp_path / "a.lock") as alone:
        assert alone
        sharing = threading.Thread(
            target=lambda: yielded.extend(
                (*done, problems) for problems in jobs.share(rounds, tmp_path)
            )
        )
        sharing.start()
        assert held.wait(240)
        assert done == ["b", "c"]  # of the next round too, rather than wait
    sharing.join(240)
    assert yielded == [("b", "c", []), ("b", "c", "a", [])]


def test_it_is_told_how_long_the_jobs_that_are_left_will_take(tmp_path, monkeypatch):
    monkeypatch.setattr("time.monotonic", functools.partial(next, iter(range(0, 9_000, 120))))
    labels = []
    assert list(
        jobs.share([{name: lambda label: not labels.append(label) for name in "abc"}], tmp_path)
    ) == [[]]
    about = [label.partition("about ")[2] for label in labels]
    assert about == ["", "4 min)", "2 min)"]
    tunings, runs, labels = {"tune a": 0, "tune b": 0}, {"a": 0, "b": 0, "c": 0}, []
    minutes = iter(60 * m for m in (0, 20, 0, 20, 0, 1, 0, 1, 0, 1))
    monkeypatch.setattr("time.monotonic", functools.partial(next, minutes))
    note = lambda label: not labels.append(label)  # noqa: E731
    list(jobs.share([dict.fromkeys(tunings, note), dict.fromkeys(runs, note)], tmp_path))
    assert [label.partition("after it ")[2] for label in labels] == [
        "",
        *("more than 20 min)", ""),
        *("about 2 min)", "about 1 min)"),
    ]
    rounds, labels[:] = ["tune", "try", "a", "b"], []
    minutes = iter(60 * m for m in (0, 20, 0, 7, 0, 1, 0, 1))
    monkeypatch.setattr("time.monotonic", functools.partial(next, minutes))
    list(jobs.share([{name: note} for name in rounds], tmp_path, apart=2))
    assert [label.partition("after it ")[2] for label in labels] == ["", "", "", "about 1 min)"]


def test_what_another_process_does_is_not_counted_as_still_to_come(monkeypatch, tmp_path):
    labels, asked = [], []
    monkeypatch.setattr("time.monotonic", functools.partial(next, itertools.count(0, 60)))

    def elsewhere(label):
        asked.append(label)
        return False if len(asked) < 2 else None

    note = lambda label: not labels.append(label)  # noqa: E731
    list(jobs.share([{"a": note, "b": elsewhere, "c": note}], tmp_path))
    assert labels == ["a", "c (with those after it about 1 min)"]


@pytest.mark.slow
def test_two_processes_share_a_table_and_a_killed_one_loses_nothing(prepared_dir, tmp_path):
    log, folder = tmp_path / "log", tmp_path / "adult"
    architectures = ("dtn", "shared_bottom", "mmoe", "ple")

    def start():
        given = ["--dataset=adult", "--table=overall", "--seeds=3", "--trials=1"]
        given += [f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
        given += [f"--entries={','.join(architectures)}"]
        return subprocess.Popen(
            [sys.executable, untrained_tables.__file__, log, *given],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )

    with contextlib.ExitStack() as started:
        victim, other = start(), start()
        for process in (victim, other):
            started.callback(process.wait)
            started.callback(process.kill)
        end = time.monotonic() + 300
        while not log.exists() or len(log.read_text().splitlines()) < 8:
            assert time.monotonic() < end
            assert victim.poll() is other.poll() is None
            time.sleep(0.05)
        victim.kill()
        assert other.wait(300) == 0
    begun = log.read_text().splitlines()
    wanted = {f"begin untuned {a} 0" for a in architectures}
    wanted |= {f"begin invented {a} {seed}" for a in architectures for seed in (1, 2, 3)}
    assert set(begun) == wanted
    assert len(begun) <= len(wanted) + 1  # that of the killed one was begun twice
    found = json.loads((folder / "overall.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[1, 2, 3]] * len(architectures)
    assert len(pack.read(folder)) == len(wanted)
    assert kept.singles(folder) == []
