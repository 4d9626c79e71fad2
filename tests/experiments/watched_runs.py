"""A finished run that was watched, and what experiments.feature_importance leaves of it."""

import json
import pathlib

import pytest
from small_runs import small

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def config(prepared_dir, **changes):
    given = {"train__max_steps": 4, "train__eval_every": 2, "model__normalisation": "none"}
    given |= {"model__architecture": "mmoe", "model__experts": "gdcn*2", "model__dropout": 0.0}
    return small(prepared_dir, **given, **changes)


@pytest.fixture
def finished(watched_run):
    """The folder of a finished, watched run; no test may change it."""
    return watched_run


@pytest.fixture
def explained(explained_run):
    """A copy of it, with what the command left, and what that printed."""
    return explained_run


def logged(workdir, kind):
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == kind]
    return [{k: v for k, v in r.items() if k != "examples_per_second"} for r in records]
