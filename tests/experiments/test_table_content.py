"""What a table says: which differences are tested, and what is left out or missing."""

import dataclasses

import pytest
from invented_tables import PROTOCOL, cell, found

from experiments.tables import csv as table_csv
from experiments.tables import markdown as table_markdown
from experiments.tables import notes as table_notes
from experiments.tables import text as table_text
from experiments.tables.content import content
from experiments.tables.draws import own_spaces
from experiments.tables.protocol import Entry


@pytest.fixture
def made():
    return found({"dtn": 0.80, "mmoe": 0.79, "ple": 0.81})


def test_a_difference_that_seeds_could_make_has_no_sign():
    main = table_text.texts(found({"dtn": 0.80, "mmoe": 0.800001, "ple": 0.80}))[0]
    assert not {"↑", "↓"} & set("".join(sum(main.rows, ())))


def test_where_the_draws_are_too_few_for_the_comparisons_it_is_said(made):
    assert not table_notes.powerless(made)
    for row in made["rows"]:
        for tested in row["comparison"].values():
            if tested != "too few":
                tested["least"] = 0.03
    assert "2 comparisons: after Holm's correction, the draws cannot show a p below 0.06" in (
        table_markdown.markdown(made)
    )


def test_one_seed_is_not_tested():
    made = found({"dtn": 0.80, "mmoe": 0.70, "ple": 0.9}, mmoe=2)
    assert made["rows"][1]["comparison"] == {}
    assert made["rows"][2]["comparison"]["order@click"]["p_holm"] < 0.01
    assert found({"dtn": 0.80, "ple": 0.9}, dtn=2)["rows"][1]["comparison"] == {}
    alone = found({"dtn": 0.80, "ple": 0.9}, dtn=2, ple=2) | {"seeds": 1, "command": ""}
    said = " ".join(table_notes.footnotes(alone))
    assert "With one seed no difference is tested" in said
    assert "↓" not in said


def test_a_task_is_tested_once_and_a_run_not_against_itself():
    made = content(
        "adult",
        "sensitivity",
        PROTOCOL,
        [Entry("dtn", "dtn"), Entry("the same", "dtn", group="g")],
        {name: [cell("dtn", seed, 0.8) for seed in (1, 2)] for name in ("dtn", "the same")},
        {},
        {},
    )
    assert made["rows"][1]["comparison"] == {}
    assert own_spaces(["a@all", "b@a", "b@all", "c@b"]) == ["a@all", "b@a", "c@b"]


def test_what_is_missing_is_said():
    made = found({"dtn": 0.8, "mmoe": 0.79}, mmoe=1)
    assert [row["name"] for row in made["rows"]] == ["dtn", "mmoe"]
    assert made["missing"] == {"mmoe": 1, "ple": 3}
    shown = table_markdown.markdown(made)
    assert "runs still missing: 4 (mmoe; ple)" in shown
    assert "`mmoe` (2 of 3 seeds)" in shown
    highest = found({"dtn": 0.8, "mmoe": 0.9}, mmoe=1)
    column = table_text.texts(highest)[0].header.index("AUC order@click")
    cells = [row[column] for row in table_text.texts(highest)[0].rows]
    assert cells[0].startswith("**0.8")  # of those that have all seeds
    assert "At the edge of its range: `optim.b1` of dtn, mmoe." in shown
    assert found({})["rows"] == []
    assert table_text.texts(found({})) == []


def test_few_examples_are_so_with_one_seed_and_in_every_space():
    cells = {name: [cell(name, 1, auc, positives=20)] for name, auc in (("dtn", 0.8), ("ple", 0.7))}
    made = content("adult", "overall", PROTOCOL, [Entry(n, n) for n in cells], cells, {}, {})
    assert made["rows"][0]["few"] == ["click@all", "order@click"]
    assert "**" not in str(table_text.main_text(made | {"command": ""}).rows)


@pytest.mark.parametrize(
    ("groups", "few"), [(11, ["click@all", "order@click"]), (12, ["click@all"])]
)
def test_few_groups_are_not_tested(groups, few):
    cells = {n: [cell(n, seed, auc) for seed in (1, 2)] for n, auc in (("dtn", 0.8), ("ple", 0.7))}
    for one in (*cells["dtn"], *cells["ple"]):
        one["results"]["test"]["order@click"] |= {"gauc_groups": groups - 2, "gauc_skipped": 2}
    made = content("adult", "overall", PROTOCOL, [Entry(n, n) for n in cells], cells, {}, {})
    assert made["rows"][1]["few"] == few
    said = " ".join(table_notes.footnotes(made | {"command": ""}))
    assert ("or fewer than 12 groups" in said) == (groups < 12)


def test_what_the_protocol_does_not_test_is_said():
    protocol = dataclasses.replace(PROTOCOL, tested=("click",))
    cells = {n: [cell(n, seed, auc) for seed in (1, 2)] for n, auc in (("dtn", 0.8), ("ple", 0.7))}
    made = content("adult", "overall", protocol, [Entry(n, n) for n in cells], cells, {}, {})
    assert made["rows"][1]["comparison"] == {"click@all": "too few", "order@click": "not tested"}
    assert "too few,,,," in table_csv.csv_text(made)
    assert "not tested,,,," in table_csv.csv_text(made)


def test_another_name_of_the_same_runs_is_shown_once():
    cells = {name: [cell("dtn", s, 0.8) for s in (1, 2, 3)] for name in ("dtn", "dim = 8")}
    entries = [Entry("dtn", "dtn"), Entry("dim = 8", "dtn", group="dim", at="8")]
    made = content("adult", "sensitivity", PROTOCOL, entries, cells, {}, {}) | {"command": ""}
    assert [row["name"] for row in made["rows"]] == ["dtn", "dim = 8"]  # as a picture's point
    assert [row[0] for row in table_text.main_text(made).rows] == ["`dtn`"]


def test_regressions_are_shown_and_not_tested():
    cells = {name: [cell(name, 1, 0.8)] for name in ("dtn", "mmoe")}
    for (found_,) in cells.values():
        found_["results"]["test"]["time@all"] = {"rmse": 2.0, "r2": 0.5, "examples": 10}
    entries = [Entry(name, name) for name in cells]
    made = content("adult", "overall", PROTOCOL, entries, cells, {}, {})
    titles = {t.title: t for t in table_text.texts(made | {"command": ""})}
    assert titles["RMSE"].rows[0] == ("`dtn`", "**2.0000**")
    assert "time@all" not in made["rows"][1]["comparison"]


def test_models_from_outside_stand_in_every_table_of_one_set_of_data():
    for table in ("overall", "ablation", "interactions", "matched", "sensitivity"):
        made = found({"dtn": 0.80}, table=table)
        last = table_text.texts(made)[0].rows[-1]
        assert last[:4] == ("trees (trees 1.0)", "", "0.7000", "0.6000")
        assert any("trees: grown, not trained" in note for note in table_notes.footnotes(made))
    assert found({"dtn": 0.80}, table="divergence")["references"] == {}
