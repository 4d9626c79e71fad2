"""docs/compare.md: what it says of ratios and the terminal. tests/docs runs its commands."""

import pytest
import rich.console
from compared_runs import run, scores

from dtn_jax.report import screen
from experiments import compare
from experiments.comparison.differences import Difference


@pytest.mark.parametrize(
    ("a", "b", "p", "better"),
    [
        (1.03, 1.06, 0.01, "A"),
        (0.9, 0.95, 0.01, "B"),
        (0.9, 0.95, 0.2, ""),
        (0.95, 1.01, 0.01, ""),  # p is not of the distances to 1
    ],
)
def test_the_ratio_nearer_to_1_is_better(a, b, p, better):
    ends = (b - a, b - a - 0.01, b - a + 0.01)
    one = Difference("click@all", "predicted_observed", (a,), (b,), *ends, p, p, 0.001, 3000, 900)
    assert one.better == better


def test_a_narrow_terminal_loses_no_column(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(screen, "console", lambda: rich.console.Console(width=40))
    compare.main([run(tmp_path / "a", scores(0.5)), run(tmp_path / "b", scores(0.6, seed=1))])
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("metric"))
    assert header.split() == [
        "metric",
        "A",
        "B",
        "B",
        "−",
        "A",
        "95",
        "%",
        "interval",
        "p",
        "ahead",
    ]
    assert lines == [line.rstrip() for line in lines]
