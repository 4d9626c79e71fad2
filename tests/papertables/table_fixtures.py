"""Tables of a tiny protocol, invented or real. Test modules name it a plug-in."""

import dataclasses
import functools
import json

import numpy as np
import pytest
from invented_runs import TINY, invented, untuned
from rich.console import Console

from dtn_jax.cli import paper_tables
from dtn_jax.comparison import differences
from dtn_jax.metrics.significance import compare
from dtn_jax.papertables import protocol as protocol_module
from dtn_jax.papertables import runs, tune, written
from dtn_jax.papertables.protocol import entry
from dtn_jax.report import screen


@pytest.fixture
def call(prepared_dir, tmp_path, monkeypatch):
    """(arguments, table=, protocol=) -> the content of a table of adult in tmp_path."""

    def run(*arguments, table="overall", protocol=TINY, folder="adult"):
        monkeypatch.setattr(protocol_module, "load", lambda path: protocol)
        workdir = f"--workdir={tmp_path}"
        given = ["--dataset=adult", f"--table={table}", f"--data_dir={prepared_dir}", workdir]
        paper_tables.main([*given, *arguments])
        return json.loads((tmp_path / folder / f"{table}.json").read_text())

    monkeypatch.setattr(screen, "console", lambda: Console(width=100, markup=False))
    return run


@pytest.fixture
def untrained(monkeypatch):
    """Runs and tunings that cost nothing."""
    monkeypatch.setattr(runs, "train", invented)
    monkeypatch.setattr(runs, "draw", lambda folder, draws: None)
    monkeypatch.setattr(tune, "tune", untuned)
    monkeypatch.setattr(written.pictures, "draw", lambda made, stem: [])
    return invented


@pytest.fixture
def told(call, untrained, monkeypatch):
    """({architecture: AUC}, more of the protocol) -> the content of its table, of three seeds.

    The AUC of a seed is 0.00001 higher than that of the one before; test rows move all alike.
    `edit(results, draws)` changes what a run leaves.
    """
    # A tenth of the usual bootstrap, for time.
    monkeypatch.setattr(differences, "bootstrap", functools.partial(compare, repeats=20_000))
    rows = 1e-3 * np.random.default_rng(0).normal(size=2000)

    def made(aucs, *arguments, edit=lambda results, draws: None, **changes):
        def calibrated(results, draws):
            for own in results["test"].values():
                own["predicted_observed"] = 1 + 0.01 * results["seed"]
            edit(results, draws)

        def train(config, folder):
            auc = aucs[config.model.architecture] + 1e-5 * config.seed
            return invented(config, folder, auc, rows, edit=calibrated)

        entries = {name: entry(name, "mlp") for name in aucs}
        protocol = dataclasses.replace(TINY, entries=entries, seeds=3, **changes)
        monkeypatch.setattr(runs, "train", train)
        folder = "adult-shortened" if "--quick" in arguments else "adult"
        return call(*arguments, protocol=protocol, folder=folder)

    return made
