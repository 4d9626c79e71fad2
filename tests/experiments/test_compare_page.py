"""docs/compare.md: its commands run, and its tables are what is read and written."""

import pathlib
import re
import shlex

import polars as pl
import pytest
import rich.console
from compared_runs import file, run, scores

from dtn_jax.report import screen
from experiments import compare
from experiments.comparison.differences import Difference

PAGE = (pathlib.Path(__file__).parents[2] / "docs/compare.md").read_text()
COMMANDS = re.findall(r"^python -m experiments\.compare (.*)$", PAGE, re.M)


@pytest.mark.slow
def test_its_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("shared_bottom", "mmoe"):
        run(tmp_path / "runs" / name, scores(0.5))
    for seed in (1, 2, 3):
        for side in "ab":
            run(tmp_path / f"runs/{side}{seed}", scores(0.5, seed), seed)
    file(tmp_path / "old_system.parquet", scores(0.4))
    for side in "ab":
        found = scores(0.5)
        more = {"user": found.group, "p_click": [0.5] * len(found.group)}
        more |= {"clicked": found.labels[:, 0], "request_id": list(range(len(found.group)))}
        columns = {name: pl.Series(values) for name, values in more.items()}
        file(tmp_path / f"scores_{side}.parquet", found, shuffled=False, **columns)
    assert len(COMMANDS) == 6
    for arguments in COMMANDS:
        compare.main(shlex.split(arguments))
    written = {path.name for path in pathlib.Path("runs/a_or_b").iterdir()}
    assert written == set(re.findall(r"`(compare\.\w+|differences\.png)`", PAGE))
    assert "GAUC" in capsys.readouterr().out


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
    assert header.split() == ["metric", "A", "B", "B", "−", "A", "95", "%", "interval", "p", "best"]
    assert lines == [line.rstrip() for line in lines]
