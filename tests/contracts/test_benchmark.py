"""The benchmark command, what its suites measure by, and how faults are judged."""

import json
import random
import signal
import sys
import types

import jax
import numpy as np
import pytest

from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task
from experiments import benchmark
from experiments.suites import gpu, peer_install, widened
from experiments.suites.faults import damage, kills
from experiments.suites.faults.calls import Work
from experiments.suites.faults.page import PAGE
from experiments.suites.measured import Goal, Measured, timed_in_turns


def test_a_goal_says_whether_it_is_met():
    assert Goal("speed", 2.0, 2.5).met
    assert not Goal("ratio", 1.1, 1.2, at_least=False).met
    assert Goal("ratio", 1.1, 1.2, at_least=False).text() == "ratio: 1.2, goal ≤ 1.1: missed"


def test_functions_take_turns():
    called = []
    functions = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = timed_in_turns(functions | {"own": lambda: 7.0}, 3)
    assert called == ["a", "b"] * 3
    np.testing.assert_array_equal(seconds["own"], [7.0] * 3)


def test_the_command_shows_and_writes_what_a_suite_found(capsys, monkeypatch, tmp_path):
    def measure(options):
        assert options.quick
        assert options.data_dir == "here"
        return Measured("of all", [{"what": "one", "ms": 1234.5}], [Goal("g", 1, 2)], ["mind"])

    monkeypatch.setattr(benchmark, "SUITES", ("own",))
    monkeypatch.setattr(benchmark, "suite", lambda name: measure)
    benchmark.main(["--suite=all", "--quick", f"--out={tmp_path}", "--data_dir=here"])
    shown = capsys.readouterr().out
    for text in ("of all", "one", "1,234", "g: 2, goal ≥ 1: met", "mind"):
        assert text in shown
    written = json.loads((tmp_path / "own.json").read_text())
    assert written["rows"] == [{"what": "one", "ms": 1234.5}]
    assert {"machine", "versions", "date", "command"} <= set(written)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--suite=tabels"], "tables"),
        (["--suite=tables", "--quick"], "--out"),
        (["--suite=compiled", "--cell=v5e:2x2,dtn"], "--out=FOLDER"),
        (["--suite=tables", "--cell=v5e:2x2,dtn", "--out=OUT"], "--suite=compiled"),
        (["--suite=compiled", "--cell=v5e:2x2,dnt", "--out=OUT"], "'dnt'. Did you mean 'dtn'"),
        (["--suite=gpu"], "needs a GPU"),
        (["--suite=step", "--rows=1e9"], "--rows asks the suite plan"),
        (["--suite=plan", "--rows=many"], "--rows=many: expected a whole number"),
        (["--suite=plan", "--rows=1e9", "--device=h200"], "unknown device 'h200'.*h100"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, told):
    with pytest.raises(UserError, match=f"(?i){told}"):
        benchmark.main([word.replace("OUT", str(tmp_path)) for word in arguments])
    assert not list(tmp_path.iterdir())


def test_widened_tables_keep_the_ids_apart():
    schema = Schema("s", (Field("a", rows=3), Field("b", rows=5)), (Task("click"),))
    ids = np.stack([np.arange(900) % 3, np.arange(900) % 5], axis=1).astype(np.int32)
    rest = dict.fromkeys(
        ("weights", "numeric", "labels", "label_mask", "sample_weight", "row_mask")
    )
    batch = Batch(ids=ids, **rest)
    assert widened.widen(schema, batch, 0) == (schema, batch)
    wide, spread = widened.widen(schema, batch, 90)
    assert [f.rows for f in wide.fields] == [45, 45]
    np.testing.assert_array_equal(spread.ids // [15, 9], ids)
    assert len(np.unique(spread.ids[:, 0])) > 40


def test_a_package_that_cannot_be_installed_is_told(monkeypatch, tmp_path):
    def failure(command):
        return "no such release" if "fuxictr>=2.3.10" in command else ""

    monkeypatch.setattr(peer_install, "failure", failure)
    python, missing = peer_install.install(tmp_path)
    assert missing == {"fuxictr": "no such release"}
    assert python.startswith(str(tmp_path))
    monkeypatch.undo()
    assert peer_install.failure([sys.executable, "-c", "import nowhere"]).endswith("'nowhere'")
    assert peer_install.failure([sys.executable, "-c", ""]) == ""


def test_all_suites_are_those_that_the_machine_can_run(capsys, monkeypatch, tmp_path):
    left = set(benchmark.SUITES) - {"gpu", "compiled"}
    assert set(benchmark.every_suite(str(tmp_path / "none"))) == left
    assert "leaving out compiled" in capsys.readouterr().out
    monkeypatch.setattr("experiments.suites.compiled.suite.find_python", lambda venv: "python")
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert set(benchmark.every_suite("")) == set(benchmark.SUITES) - {"peers"}


def test_arrays_are_compared_bit_by_bit():
    one = {"a": np.array([0.0, 1.0]), "b": np.array([np.nan]), "c": np.array([1])}
    other = {"a": np.array([-0.0, 1.0]), "b": np.array([np.nan]), "c": np.array([2])}
    assert gpu.differing(one, one) == 0
    assert gpu.differing(one, other) == 2


def test_the_card_is_told(monkeypatch):
    client = types.SimpleNamespace(platform_version="PJRT C API\ncuda 13000")
    device = types.SimpleNamespace(
        platform="gpu",
        device_kind="NVIDIA H100 80GB HBM3",
        compute_capability="9.0",
        client=client,
        memory_stats=lambda: {"bytes_limit": 60e9},
    )
    monkeypatch.setattr(jax, "devices", lambda: [device, device])
    monkeypatch.setattr(gpu.importlib.metadata, "version", lambda name: "0.11.0")
    told = gpu.card()
    for part in ("2 x NVIDIA H100 80GB HBM3", "compute capability 9.0", "60.0 GB", "cuda 13000"):
        assert part in told
    assert "jax-ml/jax#38806" in told


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
