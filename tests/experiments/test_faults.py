"""The suite of faults: a small sample of it, and how it judges."""

import random
import signal

import pytest

from dtn_jax.errors import UserError
from experiments.suites import faults
from experiments.suites.faults import damage, kills
from experiments.suites.faults.calls import Work
from experiments.suites.faults.cells import QUICK
from experiments.suites.faults.page import PAGE, page
from experiments.suites.faults.tally import Tally
from experiments.suites.measured import Options


@pytest.mark.slow
def test_a_small_sample_of_faults_loses_nothing(tmp_path):
    found = faults.measure(Options(quick=True, out=str(tmp_path)))
    assert {row["fault"] for row in found.rows} == {
        "killed (SIGKILL, SIGTERM, SIGINT)",
        "two at once",
        "full disk",
        "read-only disk",
        "flipped, cut, deleted",
    }
    kills_ = [row for row in found.rows if row["fault"].startswith("killed")]
    assert all(row["injected"] == QUICK.kills for row in kills_), kills_
    assert all(row["lost"] == row["wrong"] == 0 for row in found.rows), found.notes
    assert "| **all** |" in page(found)
    assert len({(row["fault"], row["where"]) for row in found.rows}) == len(found.rows)


def test_no_two_rows_of_the_page_have_one_label():
    rows = [line.split("|")[1:3] for line in PAGE.read_text().splitlines() if line[:1] == "|"]
    assert len(rows) > 30
    assert not [row for row in rows if rows.count(row) > 1 and row[0].strip() != "---"]


def test_every_damage_is_one_and_each_end_is_told_apart(tmp_path):
    original = tmp_path / "original"
    original.mkdir()
    (original / "numbers").write_bytes(bytes(100))

    def read(copy):
        held = (copy / "numbers").read_bytes()
        if len(held) < 100:
            raise UserError(f"{copy / 'numbers'} is cut off: restore it from a copy")
        return held

    kind = damage.Kind("folder", original, lambda p: True, read)
    (tmp_path / "place").mkdir()
    tally = damage.damaged(kind, "numbers", tmp_path / "place", 9, seed=0)
    assert (tally.wrong, tally.named, tally.lost, tally.survived) == (3, 3, 3, 0)
    assert tally.injected == 9
    assert any("flip numbers" in told for told in tally.examples)
    assert damage.name_of(original / "d/0a1b") != damage.name_of(original / "e/0a1b")


class Calls:
    """Stands for a server whose call counts its kills in its folder, and ends when it had three."""

    def __init__(self, folder, other=""):
        self.folder, self.other, self.stopped = folder, other, []

    def start(self, module, arguments, log):
        self.at = self.folder / arguments[0]
        return 2**30  # no process has this number

    def wait(self, seconds=0):
        return None if seconds < 1 else self.ended

    def run(self, module, arguments, log):
        (self.folder / arguments[0]).write_text(self.other if "killed" in arguments[0] else "")
        return 0


@pytest.mark.parametrize(("other", "outcome"), [("", "survived"), ("other", "wrong")])
def test_kills_are_judged_by_what_was_found(other, outcome, tmp_path, monkeypatch):
    calls, sent = Calls(tmp_path, other), []
    calls.ended = -signal.SIGKILL
    monkeypatch.setattr(kills.os, "kill", lambda pid, stop: sent.append(stop))
    monkeypatch.setattr(kills, "SIGNALS", (signal.SIGKILL,))
    monkeypatch.setattr(random.Random, "uniform", lambda *_: 0.5)
    work = Work("work", "", lambda f: [f.name], lambda f: {"text": f.read_text()})
    tally = kills.killed(calls, work, tmp_path, 5, 0)
    assert len(sent) == getattr(tally, outcome) == tally.injected == 5


def test_a_traceback_is_a_loss():
    tally = Tally("full disk", "train")
    tally.count("named")
    tally.count("lost", "exit 1")
    assert tally.row() == {
        "fault": "full disk",
        "where": "train",
        "injected": 2,
        "survived": 0,
        "named": 1,
        "lost": 1,
        "wrong": 0,
    }
    assert tally.examples == ["full disk, train: lost: exit 1"]
