"""Rows of several searches, and what a protocol claims of them."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest
import scipy.stats
from invented_runs import KEYS, TINY, invented

from dtn_jax.cli import paper_tables
from dtn_jax.config import load_config
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.metrics.significance import compare, resampled_aucs
from dtn_jax.papertables import estimate, references, runs, tune, written
from dtn_jax.papertables import protocol as protocol_module
from dtn_jax.papertables.claims import verdicts
from dtn_jax.papertables.protocol import LIGHTGBM, OF_SEARCHES, Claim, Entry, check, entry, load
from dtn_jax.places import protocol_groups, protocols
from experiments import references as trained

pytest_plugins = ["table_fixtures"]

DROPOUTS = {"mmoe": ("0.1", "0.2"), "dtn": ("0.3", "0.4")}  # of each search
LUCK = {"0.1": 0.010, "0.2": -0.010, "0.3": 0.002, "0.4": -0.002}  # of each search's settings
CLAIMS = (
    Claim("a", "mmoe", "dtn"),
    Claim("b", "mmoe", "dtn", 0.5),
    Claim("b", "mmoe", "dtn", OF_SEARCHES),
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
def table(call, untrained, monkeypatch):
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
    assert [of for row in made["rows"] for of in row["comparison"]] == [*KEYS]  # no mean


def test_lightgbm_is_compared_where_it_was_searched_alike(table, prepared_dir, tmp_path):
    data = catalog.load("adult", "", str(prepared_dir), "")
    folder = tmp_path / "adult/runs"
    folder.mkdir(parents=True)
    draws = {key: np.tile(0.75 + ROWS, (2, 1)) for key in KEYS}
    values = {f"test {key}": np.array([0.75, 0.75]) for key in KEYS}
    others = dataclasses.replace(PROTOCOL, trials=9)
    np.savez(references.searches_file(others, data, folder), **draws, **values)
    assert "difference" not in table()["claims"][-1]
    np.savez(references.searches_file(PROTOCOL, data, folder), **draws, **values)
    trees = table()["claims"][-1]
    assert trees["difference"] == pytest.approx(0.8 + 2.5e-4 - 0.75)


def test_lightgbm_has_the_searches_and_seeds_of_a_protocol(prepared_dir, tmp_path, monkeypatch):
    pytest.importorskip("lightgbm")
    monkeypatch.setattr(trained, "ROUNDS", 2)
    monkeypatch.setattr(trained, "resampled_aucs", functools.partial(resampled_aucs, draws=3))
    protocol = dataclasses.replace(PROTOCOL, seeds=1)
    trained.of_protocol(protocol, tmp_path, {"data.data_dir": str(prepared_dir)})
    data = catalog.load("adult", "", str(prepared_dir), "")
    found = references.searched(protocol, data, tmp_path, KEYS)
    assert found.draws.shape == (2, 3)
    assert found.values.shape == (2,)
    assert (found.values > 0.8).all()


def test_a_margin_that_is_too_wide_has_an_interval_alone(table, monkeypatch):
    monkeypatch.setattr("dtn_jax.papertables.claims.WIDEST", 1e-6)
    assert "p" not in table()["claims"][2]
    assert "low" in table()["claims"][2]


def claim(family, p, worse=None, difference=0.002):
    result = {"worse": worse, "difference": difference, "low": -0.001, "high": 0.004}
    return {"family": family, "row": "one", "than": "two", **result} | ({"p": p} if p else {})


def test_a_family_shares_holms_correction_over_sets():
    missing = {"family": "a", "row": "one", "than": "two", "worse": None}
    claims = {
        "here": [claim("a", 0.03), claim("b", 0.04, 0.0)],
        "there": [claim("a", 0.001), claim("b", None, 0.01)],
        "nowhere": [missing],
    }
    a, b = verdicts(claims)
    assert [line[-2:] for line in a.rows] == [
        ("= 0.060", "not shown"),
        ("= 0.003", "higher"),
    ]
    assert a.note == "Runs are missing on nowhere. Their claims, 1, count here too."
    assert [line[-1] for line in b.rows] == ["not worse", "the margin is too wide to test"]
    assert (b.title, b.rows[0][:3]) == ("(b) not worse", ("here", "`one`", "`two`"))


def test_a_group_of_protocols_is_made_set_by_set(
    prepared_dir, tmp_path, untrained, monkeypatch, table
):
    monkeypatch.setattr(paper_tables, "protocol_groups", lambda: {"first": ["adult", "one_more"]})
    monkeypatch.setattr(protocol_module, "protocols", lambda: dict.fromkeys(("adult", "one_more")))
    shown = []
    monkeypatch.setattr(protocol_module, "read_protocol", lambda name, *_: (name, PROTOCOL))
    monkeypatch.setattr(written, "write_verdicts", lambda *given: shown.append(given))
    given = ["--protocol=first", "--table=overall", f"--data_dir={prepared_dir}"]
    paper_tables.main([*given, f"--workdir={tmp_path}"])
    folders = [tmp_path / "adult", tmp_path / "one_more"]
    sets = dict.fromkeys(folders, PROTOCOL)
    assert shown == [(sets, tmp_path / "first.md")]
    assert all((folder / "overall.md").exists() for folder in folders)
    monkeypatch.undo()
    written.write_verdicts(sets | {tmp_path / "absent": PROTOCOL}, tmp_path / "first.md")
    page = (tmp_path / "first.md").read_text()
    _, _, of_b = page.partition("## (b) not worse")
    assert "| adult | `mmoe` | `dtn` |" in of_b
    assert re.search(r"Runs are missing on absent\.", page)
    assert (tmp_path / "first.png").exists()


def test_the_estimate_of_a_group_is_the_sum_of_its_sets(
    prepared_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(paper_tables, "protocol_groups", lambda: {"first": ["adult", "kuairand"]})
    monkeypatch.setattr(protocol_module, "read_protocol", lambda name, *_: (name, PROTOCOL))
    monkeypatch.setattr(estimate, "estimate", lambda *_: 1.25)
    given = ["--protocol=first", "--estimate", f"--data_dir={prepared_dir}"]
    paper_tables.main([*given, f"--workdir={tmp_path}"])
    said = capsys.readouterr().out
    assert "all of first: 2.50 hours (adult 1.25, kuairand 1.25)" in said


def test_a_set_that_fails_stops_no_other(prepared_dir, tmp_path, untrained, monkeypatch, table):
    def read(name, *_):
        if name == "lost":
            raise UserError("its files are not there")
        return name, PROTOCOL

    monkeypatch.setattr(paper_tables, "protocol_groups", lambda: {"first": ["lost", "adult"]})
    monkeypatch.setattr(protocol_module, "read_protocol", read)
    given = ["--protocol=first", f"--data_dir={prepared_dir}", f"--workdir={tmp_path}"]
    with pytest.raises(UserError, match=r"^lost: its files are not there$"):
        paper_tables.main(given)
    assert (tmp_path / "adult/overall.md").exists()


def test_one_sided_p_is_that_of_a_worse_model():
    rng = np.random.default_rng(0)
    draws = 0.8 + 1e-3 * rng.normal(size=(2, 1, 4000))
    exact = scipy.stats.norm.sf(2e-3 / (1e-3 * 2**0.5))
    one, two = (side.mean(axis=1) for side in draws)
    found = compare(*draws, one, two, worse=2e-3)
    assert found.p == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claims": (Claim("a", "dtn", "mmo"),)}, "unknown entry 'mmo'"),
        ({"searches": {"x": 2}}, "unknown entry 'x'"),
        ({"searches": {"dtn": 2}}, "a margin of searches needs two of 'mmoe'"),
    ],
)
def test_what_a_protocol_cannot_claim_is_told(changes, message):
    with pytest.raises(UserError, match=message):
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
    shipped = load_config(protocol.config + ("," if ":" in protocol.config else ":") + "dtn")
    assert protocol.entries[protocol.ours]["model.experts"] == shipped.model.experts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adult", "synthetic"])
def test_the_rows_of_first_have_equal_flops(name, tmp_path):
    protocol = load(protocols()[f"first_{name}"])
    made = runs.Runs(protocol, tmp_path, {"data.data_dir": str(tmp_path / "data")})
    core = [name for name, count in protocol.searches.items() if count == 4]
    shipped, *others = (made.size(Entry(name, name)).flops_per_example for name in core)
    assert max(others) < 1.02 * min(others)
    assert 4 * max(others) <= shipped
