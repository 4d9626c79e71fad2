"""The benchmark command, what its suites measure by, and how faults are judged."""

import json
import sys

import numpy as np
import pytest

from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task
from experiments import benchmark
from experiments.benchmarks import peer_install, widened
from experiments.benchmarks.measured import Goal, Measured


def test_a_goal_says_whether_it_is_met():
    assert Goal("speed", 2.0, 2.5).met
    assert not Goal("ratio", 1.1, 1.2, at_least=False).met
    assert Goal("ratio", 1.1, 1.2, at_least=False).text() == "ratio: 1.2, goal ≤ 1.1: missed"


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
    monkeypatch.setattr("experiments.benchmarks.compiled.suite.find_python", lambda venv: "python")
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert set(benchmark.every_suite("")) == set(benchmark.SUITES) - {"peers"}
