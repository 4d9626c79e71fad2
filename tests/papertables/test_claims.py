"""Rows of several searches, and what a protocol claims of them."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
from invented_runs import KEYS, TINY, invented

from dtn_jax.cli import paper_tables
from dtn_jax.errors import UserError
from dtn_jax.metrics.significance import compare, holm
from dtn_jax.papertables import protocol_files, runs, tune, written
from dtn_jax.papertables.claims import verdicts
from dtn_jax.papertables.protocol import LIGHTGBM, Claim, entry
from dtn_jax.papertables.protocol_files import check, load
from dtn_jax.shipped import protocol_groups, protocols

pytest_plugins = ["table_fixtures"]

DROPOUTS = {"mmoe": ("0.1", "0.2"), "dtn": ("0.3", "0.4")}  # of each search
LUCK = {"0.1": 0.010, "0.2": -0.010, "0.3": 0.002, "0.4": -0.002}  # of each search's settings
CLAIMS = (
    Claim("a", "mmoe", "dtn"),
    Claim("b", "mmoe", "dtn", 0.5),
    Claim("b", "mmoe", "dtn", None),
    Claim("c", "mmoe", LIGHTGBM),
)
PROTOCOL = dataclasses.replace(
    TINY,
    entries={"dtn": entry("dtn", "mlp"), "mmoe": entry("mmoe", "mlp")},
    searches={"dtn": 2, "mmoe": 2},
    claims=CLAIMS,
)
ROWS = 1e-4 * np.random.default_rng(0).normal(size=2000)  # draws of the test rows


def luck(config, seed):
    return 0.8 + LUCK[str(config.model.dropout)] + 1e-4 * seed


@pytest.fixture
def table(call, untrained, monkeypatch, tmp_path):
    """() -> the table of PROTOCOL's runs, whose AUCs depend on the search by LUCK."""

    def searched(protocol, name, config, data, folder, tried):
        number = int(name.partition(", search ")[2] or 1) - 1
        dropout = DROPOUTS[protocol.entry_of(name)][number]
        finalists = [[0.8 + LUCK[dropout] / 10]]
        return {"settings": {"model.dropout": dropout}, "at_edge": [], "finalists": finalists}

    def train(config, folder):
        (folder / "predictions.parquet").parent.mkdir(parents=True, exist_ok=True)
        (folder / "predictions.parquet").write_text(folder.name)
        return invented(config, folder, luck(config, config.seed), ROWS)

    monkeypatch.setattr(tune, "tune", searched)
    monkeypatch.setattr(runs, "train", train)
    return lambda *given: call(*given, protocol=PROTOCOL)


def test_runs_take_the_settings_of_their_searches_in_turns(table, tmp_path):
    made = table()
    for row in made["rows"]:
        assert row["seeds"] == [1, 2, 3, 4]
        one, two = DROPOUTS[row["name"]]
        for run, dropout in zip(row["runs"], (one, two, one, two)):
            facts = json.loads((tmp_path / "adult/runs" / run / "config.json").read_text())
            assert str(facts["config"]["model"]["dropout"]) == dropout
    assert made["missing"] == {}
    assert list(made["tuning"]) == ["dtn", "dtn, search 2", "mmoe", "mmoe, search 2"]
    page = (tmp_path / "adult/overall.md").read_text()
    assert "over 2 seeds for each of 2 independent searches" in page
    assert "of 2 seeds)" not in page


def test_the_means_of_searches_are_compared(table):
    """By Welch's t of two means a side: seeds of one search tell nothing of the search's luck."""
    made = table()
    (test,) = (row["comparison"][KEYS[0]] for row in made["rows"] if row["comparison"])
    sides = [[LUCK[d] + 1e-4 * (s + 2) for s, d in enumerate(of)] for of in DROPOUTS.values()]
    welch = scipy.stats.ttest_ind(*sides, equal_var=False).confidence_interval()
    assert test["low"] == pytest.approx(welch.low, rel=0.35)
    assert test["high"] == pytest.approx(welch.high, rel=0.35)
    assert test["difference"] == pytest.approx(0)


def test_claims_are_tested_and_scores_have_digests(table, tmp_path):
    made = table()
    a, wide, too_wide, trees = made["claims"]
    assert a["p"] == pytest.approx(1, abs=0.05)
    assert wide["p"] < 0.05  # within half of the scale
    spread = np.array([0.001, -0.001]).var(ddof=1) / 2 + np.array([2e-4, -2e-4]).var(ddof=1) / 2
    assert too_wide["worse"] == pytest.approx(2.487 * spread**0.5)
    assert "p" in too_wide
    assert "difference" not in trees  # it has no runs
    names = [run for row in made["rows"] for run in row["runs"]]
    assert list(made["scores"]) == names
    assert len(set(made["scores"].values())) == len(names)
    draws = {key: np.tile(0.75 + ROWS, (2, 1)) for key in KEYS}
    values = {f"test {key}": np.array([0.75, 0.75]) for key in KEYS}
    np.savez(tmp_path / "adult/runs/lightgbm.npz", **draws, **values)
    trees = table()["claims"][-1]
    assert trees["difference"] == pytest.approx(0.8 + 2.5e-4 - 0.75)


def test_a_margin_that_is_too_wide_has_an_interval_alone(table, monkeypatch):
    monkeypatch.setattr("dtn_jax.papertables.claims.WIDEST", 1e-6)
    assert "p" not in table()["claims"][2]
    assert "low" in table()["claims"][2]


def claim(family, p, worse=0.0, difference=0.002):
    result = {"worse": worse, "difference": difference, "low": -0.001, "high": 0.004}
    return {"family": family, "row": "one", "than": "two", **result} | ({"p": p} if p else {})


def test_a_family_shares_holms_correction_over_sets():
    tables = {
        "here": {"claims": [claim("a", 0.03), claim("b", 0.04, 0.001)]},
        "there": {"claims": [claim("a", 0.001), claim("b", None, 0.01)]},
        "nowhere": {"claims": [{"family": "a", "row": "one", "than": "two"}]},
    }
    a, b = verdicts(tables)
    assert [line[-2:] for line in a.rows] == [
        ("= 0.030", "higher"),
        ("= 0.002", "higher"),
        ("", "runs are missing"),
    ]
    assert holm({0: 0.03, 1: 0.001}) == {0: 0.03, 1: 0.002}
    assert [line[-1] for line in b.rows] == ["not worse", "the margin is too wide to test"]


def test_a_group_of_protocols_is_made_set_by_set(
    prepared_dir, tmp_path, untrained, monkeypatch, table
):
    monkeypatch.setattr(paper_tables, "protocol_groups", lambda: {"first": ["adult", "one_more"]})
    monkeypatch.setattr(protocol_files, "protocols", lambda: dict.fromkeys(("adult", "one_more")))
    shown = []
    monkeypatch.setattr(protocol_files, "read_protocol", lambda name, *_: (name, PROTOCOL))
    monkeypatch.setattr(written, "write_verdicts", lambda *given: shown.append(given))
    given = ["--protocol=first", "--table=overall", f"--data_dir={prepared_dir}"]
    paper_tables.main([*given, f"--workdir={tmp_path}"])
    folders = [tmp_path / "adult", tmp_path / "one_more"]
    assert shown == [(folders, tmp_path / "first.md")]
    assert all((folder / "overall.md").exists() for folder in folders)
    monkeypatch.undo()
    written.write_verdicts(folders, tmp_path / "first.md")
    assert "`mmoe` not worse than `dtn`" in (tmp_path / "first.md").read_text()


def test_one_sided_p_is_that_of_a_worse_model():
    rng = np.random.default_rng(0)
    draws = 0.8 + 1e-3 * rng.normal(size=(2, 1, 4000))
    exact = scipy.stats.norm.sf(2e-3 / (1e-3 * 2**0.5))
    one, two = (side.mean(axis=1) for side in draws)
    found = compare(*draws, one, two, worse=2e-3)
    assert found.p == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(
    "changes", [{"claims": (Claim("a", "dtn", "mmo"),)}, {"searches": {"x": 2}}]
)
def test_unknown_entries_are_named(changes):
    with pytest.raises(UserError, match="unknown entry"):
        check(dataclasses.replace(PROTOCOL, **changes))


@pytest.mark.parametrize("name", protocol_groups()["first"])
def test_the_rows_of_first_differ_in_what_they_are_about(name):
    protocol = load(protocols()[name])
    assert {claim.family for claim in protocol.claims} >= {"a", "b", "d"}
    for routing in ("shared_bottom", "mmoe", "dtn"):
        mlp, cross = (protocol.entries[f"{routing}, {kind}"] for kind in ("mlp", "dcnv2"))
        assert mlp["model.experts"].replace("mlp", "dcnv2") == cross["model.experts"]
    core = [name for name, count in protocol.searches.items() if count == 4]
    assert len(core) == 7
    assert protocol.seeds == 2
