"""Fixtures of paper tables: of a tiny protocol, trained or not. Test modules name it a plug-in."""

import functools
import json

import pytest
from rich.console import Console
from untrained_tables import TINY, invented, untuned

from dtn_jax.metrics.significance import resampled_aucs
from dtn_jax.report import screen
from experiments import paper_tables
from experiments.tables import cells, tuning


@pytest.fixture
def call(prepared_dir, tmp_path, monkeypatch):
    """(arguments, table=, protocol=) -> the content of a table of adult in tmp_path."""

    def run(*arguments, table="overall", protocol=TINY, folder="adult"):
        monkeypatch.setattr(paper_tables, "load", lambda path: protocol)
        workdir = f"--workdir={tmp_path}"
        given = ["--dataset=adult", f"--table={table}", f"--data_dir={prepared_dir}", workdir]
        paper_tables.main([*given, *arguments])
        return json.loads((tmp_path / folder / f"{table}.json").read_text())

    monkeypatch.setattr(screen, "console", lambda: Console(width=100, markup=False))
    few = functools.partial(resampled_aucs, draws=20)
    monkeypatch.setattr(cells, "resampled_aucs", few)
    return run


@pytest.fixture
def untrained(monkeypatch):
    """Runs and tunings that cost nothing."""
    monkeypatch.setattr(cells, "compute", invented)
    monkeypatch.setattr(tuning, "tune", untuned)
    monkeypatch.setattr(paper_tables.table_plots, "draw", lambda found, stem: [])
    return invented
