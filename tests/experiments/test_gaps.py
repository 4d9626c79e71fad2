"""The table `divergence`: gaps to the best AUC, over the dials of the data."""

import dataclasses

import numpy as np
import pytest
from levels_of_a_dial import KEYS, PROTOCOL, SHARED, found
from untrained_tables import TINY, invented

from dtn_jax.errors import UserError
from experiments.tables import csv as table_csv
from experiments.tables import gap_plots, notes, plots
from experiments.tables import latex as table_latex
from experiments.tables import markdown as table_markdown
from experiments.tables import terminal as table_terminal
from experiments.tables.dials import dials, options_at
from experiments.tables.entries import NEAR, off
from experiments.tables.gaps import MEAN
from experiments.tables.protocol import Dial, Entry
from experiments.tables.protocol_files import check, load, shipped
from experiments.tables.text import texts
from experiments.tables.work import Work

pytest_plugins = ["table_fixtures"]


def gap(model, divergence):
    """DTN stays where it is; those without its groups fall behind as tasks diverge."""
    return 0.02 + (0 if model == "dtn" else 0.004 * divergence)


@pytest.fixture(scope="module")
def made():
    return found(gap)


def test_a_level_is_of_the_protocols_data_with_one_dial_turned():
    first, rows = PROTOCOL.dials
    assert options_at(PROTOCOL, first, 1) == "rows=1000,divergence=1"
    assert options_at(PROTOCOL, first, 1) == options_at(PROTOCOL, rows, 1000)  # one run for both
    entries = {e.name: e for e in dials(PROTOCOL, None, None)}
    assert len(entries) == 5 * 3 + 2 * 2
    one = entries["mmoe, rows = 2000, divergence = 1"]
    assert one.against == "dtn, rows = 2000, divergence = 1"
    assert (one.group, one.at, one.tuned_as) == ("rows, divergence = 1", "2000", "mmoe")
    assert one.settings == {"data.options": "rows=2000,divergence=1"}
    with pytest.raises(UserError, match="the protocol has no `dials`"):
        dials(TINY, None, None)


@pytest.mark.parametrize(
    ("dial", "message"),
    [
        (Dial("rowz", (1,)), "unknown option of a dial 'rowz'. Did you mean 'rows'"),
        (Dial("rows", (1,), ("dtn", "mmeo")), "unknown entry of the dial rows 'mmeo'. Did you"),
        (Dial("rows", (1,), ("mmoe",)), "the dial rows has no dtn, against which the others are"),
    ],
)
def test_a_dial_that_cannot_be_is_told(dial, message):
    with pytest.raises(UserError, match=message):
        check(dataclasses.replace(PROTOCOL, dials=(dial,)))


def test_a_gap_is_to_the_best_auc_of_the_level(made):
    rows = {row["name"]: row for row in made["rows"]}
    own = rows["mmoe, divergence = 0.5"]["metrics"]
    for key in KEYS:
        assert own[key]["gap"] == pytest.approx(0.022 - 1e-5 * np.arange(1, 4))
    assert own[MEAN]["gap"] == pytest.approx(own["click@all"]["gap"])
    assert own[MEAN]["auc"] == pytest.approx(
        (0.84 + 0.9 + 0.93) / 3 - 0.022 + 1e-5 * np.arange(1, 4)
    )
    assert rows["mmoe, divergence = 0.5"]["true_divergence"] == pytest.approx(0.4)
    test = rows["mmoe, divergence = 0.5"]["comparison"]
    assert set(test) == {"click@all", "cart@all", "order@all", MEAN}
    assert test[MEAN]["difference"] == pytest.approx(-0.002)


def test_p_values_are_corrected_over_a_level(made):
    """At a level there are four rivals: 4 means and 12 tasks; over the table too many to tell."""
    by_name = {row["name"]: row["comparison"] for row in made["rows"]}
    own = by_name["mmoe, divergence = 1"]
    assert own[MEAN]["p_holm"] == pytest.approx(4 * own[MEAN]["least"])
    assert own["order@all"]["p_holm"] == pytest.approx(12 * own[MEAN]["least"])
    of_two = by_name["mmoe, rows = 2000, divergence = 1"]
    assert of_two[MEAN]["p_holm"] == pytest.approx(of_two[MEAN]["least"])


def test_the_sentences_say_against_whom(made):
    ablation, published, alike = made["sentences"]
    begins = "From divergence 0.5 (true: 0.40) on, `dtn` is ahead of"
    ends = ", by 0.0020 there and by 0.0040 at 1; below that no gain is sure."
    assert ablation == f"{begins} `{SHARED}`{ends}"
    assert published == f"{begins} the best of 2 rivals with MLP experts{ends}"
    assert alike == f"{begins} `ple_dtns_experts`{ends}"
    page = table_markdown.markdown(made)
    assert all(told in page for told in (ablation, published))


def test_nothing_is_said_of_what_is_not_finished():
    two = {name: PROTOCOL.entries[name] for name in ("dtn", SHARED)}
    few = dataclasses.replace(PROTOCOL, entries=two, dials=(Dial("divergence", (0, 1)),))
    cut = dataclasses.replace(few, cut=("train.max_steps=100",))
    assert len(found(gap, few)["sentences"]) == 1
    assert found(gap, few, seeds=(1, 2))["sentences"] == []
    assert found(gap, few, seeds=())["rows"] == []
    one = dataclasses.replace(few, seeds=1)
    assert found(gap, one, seeds=(1,))["sentences"] == []
    assert found(gap, cut)["sentences"] == []
    assert not set("↓↑") & set(table_markdown.markdown(found(gap, cut)))


def test_the_printed_tables(made):
    main, *others = texts(made)
    assert main.header == ("", "0 (0.00)", "0.5 (0.40)", "1 (0.80)")
    rows = {row[0]: row[1:] for row in main.rows}
    assert rows["`dtn`"] == ("**20.0 ± 0.01**",) * 3
    assert rows["`mmoe`"][2] == "24.0 ± 0.01 ↓"
    assert rows["Bayes-optimal AUC"] == ("0.8900", "0.8900", "0.8900")
    titles = [text.title for text in others]
    assert (
        "Gap to the Bayes-optimal AUC × 1000, cart@click, by divergence (true divergence)" in titles
    )
    assert any(title.startswith("AUC less ours, order@all, by divergence") for title in titles)
    assert any("by rows, divergence = 1" in title for title in titles)
    assert "mmoe, rows = 2000, divergence = 1" in table_csv.csv_text(made)
    assert r"\begin{tabular}" in table_latex.latex(made)
    assert "bold: our runs' smallest mean" in table_markdown.markdown(made)
    titles = [part.title for part in table_terminal.tables(made, 200) if part.title]
    assert [title.partition(",")[0] for title in titles] == [
        "When DTN helps. Gap to the Bayes-optimal AUC × 1000",
        "AUC less ours",
    ]


@pytest.mark.slow
def test_the_pictures_are_files(made, tmp_path):
    drawn = plots.draw(made, tmp_path / "divergence")
    kinds = ["gaps", "mean_gaps", "differences", "dials"]
    assert [path.name for path in drawn] == [f"divergence_{kind}.png" for kind in kinds]


def test_the_pictures(made):
    (first, *_) = gap_plots.gaps(made).axes
    assert {text.get_text() for text in first.texts} == {
        "dtn",
        "without task groups",
        "mmoe",
        "ple",
    }
    (first, *_) = gap_plots.differences(made).axes
    assert {line.get_color() for line in first.lines} == {
        gap_plots.GREY,
        gap_plots.COLOURS[1],
        "black",
    }


def test_the_note_on_too_many_comparisons_counts_a_level_alone():
    """33 tests of tasks are a family, the levels' together would be too many."""
    test = {"least": 0.001}
    rows = [
        {"group": "divergence", "at": str(at), "comparison": {MEAN: test, "a": test, "b": test}}
        for at in range(5)
        for _ in range(11)
    ]
    found = {"table": "divergence", "rows": rows}
    assert notes.powerless(found) == []
    (note,) = notes.powerless(found | {"table": "overall"})
    assert note.startswith("110 comparisons")


def test_names_beside_lines_do_not_meet():
    placed = gap_plots.beside({"a": 0.1, "b": 0.101, "c": 0.102, "d": 0.5})
    heights = sorted(placed.values())
    assert np.diff(heights).min() > 0.9 * gap_plots.APART
    assert list(placed) == ["a", "b", "c", "d"]
    assert placed["d"] == 0.5


FEW = dataclasses.replace(
    TINY,
    config="configs/synthetic.py",
    common=TINY.common | {"data.options": "rows=1000,divergence=0.5"},
    dials=(Dial("divergence", (0, 0.5, 1)),),
)


@pytest.mark.slow
def test_each_run_is_of_its_own_data(call, untrained):
    made = call(table="divergence", protocol=FEW)
    assert [row["at"] for row in made["rows"]] == ["0", "0", "0.5", "0.5", "1", "1"]
    assert made["missing"] == {}
    best = {row["at"]: row["best"]["order@all"] for row in made["rows"]}
    assert len(set(best.values())) == 3
    again = call(table="divergence", protocol=FEW)
    assert again["rows"] == made["rows"]


@pytest.mark.slow
def test_cells_are_named_after_their_data(prepared_dir, tmp_path, monkeypatch):
    work = Work(FEW, tmp_path, tmp_path, {"data.data_dir": str(prepared_dir)}, together=False)
    monkeypatch.setattr(work, "tuning", lambda name: {"settings": {}})
    low, middle, _ = (work.cell_file(e, 1) for e in dials(FEW, None, None) if e.tuned_as == "dtn")
    assert invented(low[1], work.data_at(low[1]), None)["data"] != work.data.fingerprint
    usual, _ = work.cell_file(Entry("dtn", "dtn"), 1)
    assert middle[0] == usual != low[0]


def test_without_dials_there_is_no_such_table(call, untrained):
    with pytest.raises(UserError, match="the protocol has no `dials`"):
        call(table="divergence")


@pytest.mark.slow
def test_a_quick_table_is_of_one_level(call, untrained):
    made = call("--quick", table="divergence", protocol=FEW, folder="adult-shortened")
    assert {row["name"] for row in made["rows"]} == {
        "dtn, divergence = 0.5",
        "shared_bottom, divergence = 0.5",
    }
    assert "1 of 3 levels of the data's dials" in made["shortened"]
    assert made["sentences"] == []


@pytest.mark.slow
def test_the_shipped_entries_have_equal_flops(prepared_dir, tmp_path):
    protocol = load(shipped()["divergence"])
    protocol = dataclasses.replace(protocol, common=protocol.common | {"data.options": "rows=1000"})
    places = {"data.data_dir": str(prepared_dir)}
    work = Work(protocol, tmp_path, tmp_path, places, together=False)
    sizes = {name: work.size(Entry(name, name)) for name in protocol.entries}
    away = {n: off(size, sizes["dtn"], "flops_per_example") for n, size in sizes.items()}
    assert {name for name, share in away.items() if share > NEAR} == set()
