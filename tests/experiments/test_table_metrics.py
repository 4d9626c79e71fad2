"""Which metrics each form of a table shows, of our runs and of models from outside."""

import csv
import io

import pytest
from invented_tables import PROTOCOL, cell, found

from dtn_jax.metrics import METRICS
from experiments.tables import csv as table_csv
from experiments.tables import latex, markdown, notes, report, text
from experiments.tables.content import content
from experiments.tables.protocol import Entry

TITLES = ["GAUC", "log loss", "predicted/observed"]


@pytest.fixture
def made():
    return found({"dtn": 0.80, "mmoe": 0.79})


@pytest.mark.parametrize("table", [t for t in text.TITLES if t != "divergence"])
def test_every_table_prints_gauc_log_loss_and_calibration(table):
    made = found({"dtn": 0.80, "mmoe": 0.79}, table)
    printed = {t.title: t for t in text.texts(made)}
    assert [title for title in printed if title in TITLES] == TITLES
    assert printed["predicted/observed"].rows[0] == (
        "`dtn`", "1.0200 ± 0.0100", "**1.0200 ± 0.0100**",
    )  # fmt: skip
    assert printed["GAUC"].header == ("", "order@click")  # click has no groups
    assert [t.title for t in text.other_texts(made)] == ["calibration error (ECE)"]
    for whole in (markdown.markdown(made), latex.latex(made)):
        assert "1.0200 " in whole
        assert "ECE" not in whole


def test_a_metric_that_an_option_asks_for_is_printed(made):
    title = METRICS["threshold_auc"].title
    assert title not in [t.title for t in text.texts(made)]
    for row in made["rows"]:
        row["metrics"]["order@click"]["threshold_auc"] = [0.61, 0.62, 0.63]
    (printed,) = [t for t in text.texts(made) if t.title == title]
    assert printed.rows[0] == ("`dtn`", "**0.6200 ± 0.0100**")
    assert title not in [t.title for t in text.other_texts(made)]


def test_a_table_of_before_the_finalists_still_has_its_place_on_the_page(made):
    old = {key: value for key, value in made.items() if key != "finalists"}
    old |= {"trials": 20, "tuned_with": {"train.max_steps": 140}}
    assert "20 trials on validation (train.max_steps=140) of one space" in report.section(old, [])


def test_the_page_folds_the_other_metrics(made):
    page = report.section(made, [])
    printed, _, folded = page.partition("<details>")
    assert all(f"<h3>{title}</h3>" in printed for title in TITLES)
    assert "ECE" not in printed
    assert folded.startswith("<summary>Other metrics: calibration error (ECE)</summary>")
    assert folded.count("0.0200 ± 0.0100") == 4  # two rows, two tasks
    assert folded.index("</details>") < folded.index("Settings")


def test_models_from_outside_show_what_is_known_of_them(made):
    printed = {t.title: t.rows for t in text.texts(made)}
    for title, value in zip(TITLES, ("0.5500", "0.3500", "1.1000"), strict=True):
        (row,) = [row for row in printed[title] if row[0] == "trees (trees 1.0)"]
        assert row[-1] == value
    assert printed["log loss"][-2][1] == ""  # of click, an AUC alone
    assert "trees: grown, not trained." in notes.footnotes(made)
    rows = list(csv.DictReader(io.StringIO(table_csv.csv_text(made))))
    trees = {(r["task@space"], r["metric"]): float(r["mean"]) for r in rows if r["row"] == "trees"}
    assert trees["click@all", "auc"] == 0.7
    assert trees["order@click", "ece"] == 0.3
    assert "1.1000" in report.section(made, [])
    assert "1.1000" in latex.latex(made)


def test_older_cells_have_predicted_over_observed_in_two_parts():
    old = cell("dtn", 1, 0.8)
    for metrics in old["results"]["test"].values():
        del metrics["predicted_observed"]
    old["results"]["test"]["order@click"] |= {"mean_prediction": 0.3, "base_rate": 0.25}
    made = content("adult", "overall", PROTOCOL, [Entry("dtn", "dtn")], {"dtn": [old]}, {}, {})
    metrics = made["rows"][0]["metrics"]
    assert metrics["order@click"]["predicted_observed"] == [pytest.approx(1.2)]
    assert "predicted_observed" not in metrics["click@all"]
