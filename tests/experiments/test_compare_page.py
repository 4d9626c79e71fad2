"""docs/compare.md: its commands run, and its table of columns is what is read."""

import pathlib
import re
import shlex

import polars as pl
import pytest
from compared_runs import file, run, scores

from experiments import compare

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
    assert len(COMMANDS) == 5
    for arguments in COMMANDS:
        compare.main(shlex.split(arguments))
    written = {path.name for path in pathlib.Path("runs/a_or_b").iterdir()}
    assert written == set(re.findall(r"`(compare\.\w+|differences\.png)`", PAGE))
    assert "GAUC" in capsys.readouterr().out
