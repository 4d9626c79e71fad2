"""What the seeds alone say: differences within their spread, and the t-test on the best rival."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from invented_tables import PROTOCOL, cell, found

from experiments.tables import csv as table_csv
from experiments.tables import differences, latex, markdown, plots, report, seeds, terminal
from experiments.tables.content import content
from experiments.tables.protocol import Entry


@pytest.fixture
def made():
    """ple is the strongest rival, dtn below it; mmoe is as good as dtn."""
    return found({"dtn": 0.80, "mmoe": 0.80001, "ple": 0.81})


def test_the_spread_is_pooled_and_welch_is_as_in_a_textbook():
    """Variances 1 and 4 of 3 and 4 values: freedom (1/3 + 1)² / ((1/3)²/2 + 1/3) = 32/7."""
    ours, theirs = np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0, 6.0, 8.0]) * np.sqrt(1.5)
    of = seeds.of_seeds(ours, theirs)
    assert of["two_sd"] == pytest.approx(2 * np.sqrt((1 + 4) / 2))
    assert of["freedom"] == pytest.approx(32 / 7)
    assert of["t"] == pytest.approx((2 - 6 * np.sqrt(1.5)) / np.sqrt(1 / 3 + 1))
    assert 0.005 < of["p_t"] < 0.02  # t = -4.63 of 4.6 degrees of freedom, two-tailed


def test_seeds_that_do_not_vary_have_no_t():
    of = seeds.of_seeds(np.full(3, 0.8), np.full(2, 0.7))
    assert of == {"two_sd": 0.0, "t": None, "freedom": None, "p_t": None}
    assert not seeds.within(of | {"difference": 0.0})


def test_a_difference_within_twice_the_seeds_deviation_has_a_sign(made):
    """Deviations are 1e-5, twice that is 2e-5, and mmoe is 1e-5 above."""
    text = differences.difference_text(made)
    assert text.rows[0][2].startswith("≈ +0.01 [")
    assert text.rows[1][2].startswith("+10.00 [")
    assert "smaller than twice the seeds' standard deviation" in text.note
    assert text.note in markdown.markdown(made).replace("\\", "")
    assert r"$\approx$ +0.01" in latex.latex(made)
    assert "≈: smaller than twice" in report.section(made, [])
    far = differences.difference_text(found({"dtn": 0.80, "mmoe": 0.79}))
    assert far.note == ""
    assert "≈" not in str(far.rows)


def test_the_terminal_says_what_the_sign_means(made):
    notes = terminal.notes(made)
    assert notes[0].startswith("≈: smaller than twice")
    assert notes[1].startswith("The strongest rival is the row")


def test_pictures_show_it_hollow(made):
    (axes, *_) = plots.differences(made).axes
    filled = [
        line.get_markerfacecolor() == "white" for line in axes.lines if line.get_marker() == "o"
    ]
    assert filled == [True, False]


def test_ours_stands_beside_its_strongest_rival(made):
    text = differences.rival_text(made)
    assert text.title == "dtn less its strongest rival on each task: AUC"
    ((key, rival, difference, interval, p, t, freedom, p_t),) = text.rows  # click has too few
    assert (key, rival, difference) == ("order@click", "`ple`", "−10.00")
    low, high = (float(end) for end in interval.strip("[]").replace("−", "-").split(", "))
    assert low < -10 < high < 0
    assert p == "< 0.001"
    assert (t, freedom, p_t) == ("−1224.74", "4.0", "< 0.001")  # 0.01 / (1e-5 sqrt(2/3))
    assert "the t-test (Welch's, two-tailed) covers the seeds alone" in text.note
    assert "too low where dtn is below" in text.note
    assert "dtn less its strongest rival" in markdown.markdown(made)
    assert "strongest rival" in latex.latex(made)
    assert any("strongest rival" in (p.title or "") for p in terminal.tables(made, 200))


def test_a_variant_of_ours_is_no_rival(made):
    made["rows"][2]["architecture"] = "dtn"
    assert differences.rival_text(made).rows[0][1] == "`mmoe`"
    made["rows"][1]["architecture"] = "dtn"
    assert differences.rival_text(made) is None


def test_there_is_none_where_nothing_is_tested_or_training_was_shortened(made):
    assert differences.rival_text(made | {"shortened": ["train.max_steps=100"]}) is None
    assert differences.rival_text(found({"dtn": 0.8})) is None
    protocol = dataclasses.replace(PROTOCOL, tested=("click",))
    cells = {n: [cell(n, seed, auc) for seed in (1, 2)] for n, auc in (("dtn", 0.8), ("ple", 0.7))}
    untested = content("adult", "overall", protocol, [Entry(n, n) for n in cells], cells, {}, {})
    assert differences.rival_text(untested) is None


def test_a_table_from_before_is_still_read(made):
    for row in made["rows"]:
        row.pop("architecture")
        for one in row["comparison"].values():
            if isinstance(one, dict):
                for name in ("two_sd", "t", "freedom", "p_t"):
                    del one[name]
    assert "≈" not in str(differences.difference_text(made))
    assert differences.rival_text(made) is None


def test_csv_has_the_spread_and_the_t_test(made):
    rows = list(csv.DictReader(io.StringIO(table_csv.csv_text(made))))
    (row,) = [
        r for r in rows if (r["row"], r["task@space"], r["metric"]) == ("ple", "order@click", "auc")
    ]
    assert float(row["two_sd"]) == pytest.approx(2e-5)
    assert float(row["t"]) == pytest.approx(1224.74, rel=1e-4)  # of ple less dtn
    assert float(row["freedom"]) == pytest.approx(4)
    assert float(row["p_t"]) < 1e-6
