"""What the paper's tables print: signs of significance, best values, numbers in full, LaTeX."""

import csv
import io

import pytest
import rich.console
from invented_tables import found

from experiments.tables import csv as table_csv
from experiments.tables import latex as table_latex
from experiments.tables import notes as table_notes
from experiments.tables import plots as table_plots
from experiments.tables import report as table_report
from experiments.tables import terminal as table_terminal
from experiments.tables import text as table_text


@pytest.fixture
def made():
    return found({"dtn": 0.80, "mmoe": 0.79, "ple": 0.81})


def test_signs_say_what_is_significant(made):
    main, difference, *_ = table_text.texts(made)
    rows = {row[0]: row for row in main.rows}
    column = main.header.index("AUC order@click")
    assert rows["`dtn`"][column] == "0.80002 ± 0.00001"
    assert rows["`mmoe`"][column] == "0.79002 ± 0.00001 ↓"
    assert rows["`ple`"][column] == "**0.81002 ± 0.00001** ↑"
    few = main.header.index("AUC click@all")
    assert [row[few] for row in main.rows[1:3]] == ["0.79002 ± 0.00001", "0.81002 ± 0.00001"]
    assert main.header[-2:] == (
        "click, published: A paper",
        "order, published: A paper",
    )
    assert [row[-1] for row in main.rows] == ["", "", "0.8000", ""]
    assert main.rows[-1][:4] == ("trees (trees 1.0)", "", "0.7000", "0.6000")
    assert {row[1] for row in main.rows[:-1]} == {"`mlp*2`"}
    assert rows["`dtn`"][main.header.index("parameters")] == "1.23 M"
    assert rows["`dtn`"][main.header.index("train s")] == "62"
    assert [row[1] for row in difference.rows] == ["too few", "too few"]
    assert difference.rows[0][2].startswith("−10.00 [")
    assert difference.rows[0][2].endswith("p ≤ 0.002")  # the least of 2000 draws, of two rivals


def test_a_shortened_table_has_no_signs(made):
    made["shortened"] = ["train.max_steps=100"]
    main = table_text.texts(made)[0]
    assert not any(sign in cell for row in main.rows for cell in row for sign in "↓↑")
    told = " ".join(table_notes.footnotes(made))
    assert "↓" not in told
    assert "it learns faster" in told
    (axes, *_) = table_plots.differences(made).axes
    assert {line.get_color() for line in axes.lines} <= {table_plots.GREY, "black"}


def test_a_terminal_shows_the_differences_too(made):
    parts = list(table_terminal.tables(made, 60))
    shown = [(part.title or "", [column.header for column in part.columns]) for part in parts]
    told = [headers for title, headers in shown if title.startswith("AUC less that of dtn")]
    assert told == [["", "click\n@all", "order\n@click"]]


def test_where_the_optimum_is_known_it_is_told_how_far_each_row_came(made):
    titles = [t.title for t in table_text.texts(made)]
    assert not any("way from" in title for title in titles)
    best = {"test": {"click@all": 0.9, "order@click": 0.9}, "version": "known"}
    made["references"]["Bayes-optimal"] = best
    (share,) = [t for t in table_text.texts(made) if "way from" in t.title]
    assert share.header == ("", "click@all", "order@click")
    assert share.rows[0] == ("`dtn`", "75.0 ± 0.0", "75.0 ± 0.0")
    assert table_text.texts(made)[0].rows[-1][:3] == ("Bayes-optimal (known)", "", "0.9000")


def test_of_a_metric_with_a_target_the_nearest_is_the_best(made):
    for row, value in zip(made["rows"], (1.2, 0.9, 0.5), strict=True):
        row["metrics"]["order@click"]["predicted_observed"] = [value] * len(row["seeds"])
    (shown,) = [t for t in table_text.texts(made) if t.title == "predicted/observed"]
    at = shown.header.index("order@click")
    assert [row[at].startswith("**0.9") for row in shown.rows] == [False, True, False, False]
    assert sum("**" in row[at] for row in shown.rows) == 1


def test_the_best_log_loss_is_the_lowest_and_metrics_that_are_not_there_are_left_out(made):
    tables = {t.title: t for t in table_text.texts(made)}
    assert "**" in tables["log loss"].rows[2][2]
    assert not any("**" in row[1] for row in tables["log loss"].rows)  # too few clicks
    assert "RMSE" not in tables
    assert tables["GAUC"].header == ("", "order@click")


def test_log_losses_stand_beside_that_of_a_constant(made):
    """-(0.1 log 0.1 + 0.9 log 0.9) = 0.3251 for 500 positives of 5000."""
    (text,) = [t for t in table_text.texts(made) if t.title == "log loss"]
    assert text.rows[-2:] == (
        ("trees (trees 1.0)", "", "0.3500"),
        ("a constant: test's base rate", "0.0973", "0.3251"),
    )
    assert text.outside == 2
    (gauc,) = [t for t in table_text.texts(made) if t.title == "GAUC"]
    assert len(gauc.rows) == len(text.rows) - 1


def test_csv_has_every_number_in_full(made):
    rows = list(csv.DictReader(io.StringIO(table_csv.csv_text(made))))
    (row,) = [
        r
        for r in rows
        if (r["row"], r["task@space"], r["metric"]) == ("mmoe", "order@click", "auc")
    ]
    assert float(row["mean"]) == pytest.approx(0.79002, abs=1e-12)
    assert float(row["sd"]) == pytest.approx(1e-5, rel=1e-9)
    assert float(row["difference"]) == pytest.approx(-0.01)
    assert float(row["low"]) < -0.01 < float(row["high"])
    assert float(row["p"]) <= float(row["p_holm"]) <= 2 * float(row["p"])  # of two rivals
    assert row["against"] == "dtn"
    (few,) = [
        r for r in rows if (r["row"], r["task@space"], r["metric"]) == ("ple", "click@all", "auc")
    ]
    assert few["difference"] == "too few"


def test_latex_escapes_and_closes_what_it_opens(made):
    text = table_latex.latex(made)
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert text.count("{") == text.count("}")
    assert r"\textbf{0.81002 $\pm$ 0.00001} $\uparrow$" in text
    assert not [line for line in text.splitlines() if "_" in line.replace(r"\_", "")]
    captions = [line for line in text.splitlines() if r"\caption" in line]
    spread = r"Mean $\pm$ standard deviation"
    assert [spread in c for c in captions] == [
        not any(word in c for word in ("Holm", "published", "strongest")) for c in captions
    ]
    assert (
        text.count("Settings: each row tuned by successive halving on validation") == 1
    )  # the notes can be read
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    widths = {line.count("&") for line in body.splitlines() if "&" in line}
    assert widths == {len(table_text.texts(made)[0].header) - 1 - 2}  # published: another table
    assert "click, A paper & order, A paper" in text.split(r"\toprule")[2]
    assert "-{}-a='b" in text  # two hyphens, no dash
    assert body.splitlines()[-2] == r"\midrule"
    assert body.splitlines()[-1].startswith("trees (trees 1.0) &  & 0.7000 & 0.6000")
    assert body.count(r"\midrule") == 2
    assert table_latex.latex(found({})) == ""


def test_latex_of_a_wide_table_is_shrunk_to_the_page():
    narrow = table_text.Text("t", ("", "a"), (("x", "1"),))
    wide = table_text.Text("t", ("", *["a column"] * 20), (("x", *["1"] * 20),))
    assert r"\resizebox{\linewidth}" not in table_latex.latex_table(narrow)
    text = table_latex.latex_table(wide)
    assert r"\resizebox{\linewidth}" in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("table", [t for t in table_plots.PICTURES if t != "divergence"])
def test_every_table_has_its_pictures(table, made, tmp_path):
    made["table"] = table
    for row in made["rows"][1:]:
        row["group"], row["at"] = row["name"], "1"
    made["rows"][0]["group"] = "dtn" if table == "interactions" else ""
    written = table_plots.draw(made, tmp_path / table)
    kinds = table_plots.PICTURES[table]
    assert sorted(p.name for p in written) == sorted(f"{table}_{kind}.png" for kind in kinds)
    table_report.write(tmp_path / "report.html", [made], {table: written[:1]})
    page = (tmp_path / "report.html").read_text()
    assert "b &amp; c" in page
    assert "<b>0.81002 ± 0.00001</b> ↑" in page


def test_a_table_without_a_run_says_so():
    made = found({})
    assert table_notes.footnotes(made)[-1].endswith("no run is finished yet.")
    assert list(table_terminal.tables(made, 80)) == []


@pytest.mark.parametrize("width", [80, 120, 300])
def test_a_terminal_shows_every_auc_whole(width, made):
    shown = io.StringIO()
    console = rich.console.Console(file=shown, width=width)
    for table in table_terminal.tables(made, width):
        console.print(table)
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in shown.getvalue()
    auc = table_text.main_text(made).rows[0][3].replace("*", "")
    assert auc in shown.getvalue()


def test_terminals_have_bold_for_the_best():
    assert table_terminal.styled("**0.9 ± 0.1** ↑").spans[0].style == "bold"
    assert table_terminal.styled("**0.9 ± 0.1** ↑").plain == "0.9 ± 0.1 ↑"
