"""The benchmark command, and what its suites measure by."""

import json

import pytest

from dtn_jax.errors import UserError
from experiments import benchmark
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
        (["--suite=gpu"], "needs a GPU"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, told):
    with pytest.raises(UserError, match=f"(?i){told}"):
        benchmark.main([word.replace("OUT", str(tmp_path)) for word in arguments])
    assert not list(tmp_path.iterdir())
