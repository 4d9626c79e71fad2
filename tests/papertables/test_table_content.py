"""What a table says: statistics by other means, what is not tested, and that all forms agree."""

import io
import pathlib
import re

import numpy as np
import pytest
import rich.console
import scipy.stats
from invented_runs import KEYS

from dtn_jax.papertables import references
from dtn_jax.papertables.protocol import Published
from dtn_jax.report import screen

pytest_plugins = ["table_fixtures"]

AUCS = {"dtn": 0.80, "mmoe": 0.79, "ple": 0.81}
SNAPSHOTS = pathlib.Path(__file__).parent / "snapshots"
PUBLISHED = (Published("A paper", "another split", {"ple": {"income": 0.7}}),)
TREES = {  # of one task only the AUC is known
    "version": "trees 1.0",
    "test": {KEYS[0]: 0.7, KEYS[1]: {"auc": 0.6, "logloss": 0.35, "ece": 0.3}},
    "note": "grown, not trained",
}
BEST = {"version": "known", "test": dict.fromkeys(KEYS, 0.9)}


@pytest.fixture
def page(tmp_path):
    """() -> the table as Markdown."""
    return (tmp_path / "adult/overall.md").read_text


def of_task(key, **values):
    """An edit of what a run leaves of a task."""

    def edit(results, draws):
        results["test"].setdefault(key, {}).update(values)

    return edit


def line_of(page, start):
    """The cells of the first line of a Markdown table that begins so."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def compared(found):
    return {row["name"]: row["comparison"] for row in found["rows"]}


def test_a_difference_its_interval_and_holms_p_are_right(told):
    """Test rows move all rows alike, so seeds are all that is uncertain: as Welch's t says."""
    aucs = {"dtn": 0.80, "mmoe": 0.80002, "ple": 0.81}
    found, seeds, p = compared(told(aucs)), 1e-5 * np.arange(1, 4), {}
    assert found["dtn"] == {}
    for name in ("mmoe", "ple"):
        welch = scipy.stats.ttest_ind(aucs[name] + seeds, 0.80 + seeds, equal_var=False)
        low, high = welch.confidence_interval()
        for key in KEYS:
            one = found[name][key]
            assert one["difference"] == pytest.approx(aucs[name] - 0.80)
            assert (one["low"], one["high"]) == pytest.approx((low, high), abs=0.2 * (high - low))
            assert one["two_sd"] == pytest.approx(2e-5)
            p[name, key] = one["p"]
    assert p["ple", KEYS[0]] == 2 / 2001  # the least of 2000 draws
    assert 0.05 < p["mmoe", KEYS[0]] < 0.15
    worst = 0
    for rank, (name, key) in enumerate(sorted(p, key=p.get)):
        worst = max(worst, (len(p) - rank) * p[name, key])
        assert found[name][key]["p_holm"] == pytest.approx(min(1, worst))


def test_signs_say_what_is_significant(told, page):
    told(AUCS)
    assert line_of(page(), "`mmoe`")[2:4] == ["0.79002 ± 0.00001 ↓"] * 2
    assert line_of(page(), "`ple`")[2:4] == ["**0.81002 ± 0.00001** ↑"] * 2
    assert line_of(page(), "`dtn`")[2:4] == ["0.80002 ± 0.00001"] * 2
    assert "≈ " not in page()


def test_what_seeds_could_make_has_another_sign(told, page):
    told({"dtn": 0.80, "mmoe": 0.800001, "ple": 0.80001})
    assert not {"↑", "↓"} & set("".join(line_of(page(), "`mmoe`") + line_of(page(), "`ple`")))
    assert "≈ " in page()


def test_one_seed_is_not_tested(told, page):
    found = told(AUCS, "--seeds=1")
    assert set(map(str, compared(found).values())) == {"{}"}
    assert "--seeds=5" in page()
    assert not {"↑", "↓"} & set(page())


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("edit", "changes", "why"),
    [
        (of_task(KEYS[0], positives=99), {}, "too few"),
        slow(of_task(KEYS[0], positives=4901), {}, "too few"),
        (of_task(KEYS[0], gauc_groups=9, gauc_skipped=2), {}, "too few"),
        slow(of_task(KEYS[0], gauc_groups=10, gauc_skipped=2), {}, None),
        (lambda results, draws: None, {"tested": ("never_married",)}, "not tested"),
    ],
)
def test_what_is_not_tested(edit, changes, why, told, page):
    found = told(AUCS, edit=edit, **changes)
    for row in found["rows"][1:]:
        assert (row["comparison"][KEYS[0]] == why) == bool(why)
        assert row["comparison"][KEYS[1]]["p"] < 0.01
    assert (found["rows"][0]["few"] == [KEYS[0]]) == (why == "too few")
    best = line_of(page(), "`ple`")
    assert ("**" in best[2]) == (why != "too few")
    assert "**" in best[3]


def test_a_task_is_tested_once_and_regressions_are_not(told, page):
    def edit(results, draws):
        for of in (results["test"], draws):
            of["income@click"] = of[KEYS[0]]
        results["test"]["time@all"] = {"rmse": 2.0, "r2": 0.5, "examples": 10}

    found = compared(told(AUCS, edit=edit))
    assert set(found["ple"]) == set(KEYS)
    assert line_of(page().partition("RMSE")[2], "`dtn`")[-1].strip("*") == "2.00000 ± 0.00000"


def test_another_name_of_the_same_runs_is_shown_once(call, untrained, tmp_path):
    found = call(table="sensitivity")
    assert [row["name"] for row in found["rows"]] == ["dtn", "embedding_dim = 4"]
    text = (tmp_path / "adult/sensitivity.md").read_text()
    assert "| `embedding_dim" not in text
    assert found["rows"][1]["comparison"] == {}


def test_metrics_that_judge_are_printed_and_the_others_kept(told, page, tmp_path):
    told(AUCS, edit=of_task(KEYS[1], gauc=0.7))
    text, table = page(), (tmp_path / "adult/overall.csv").read_text()
    for title, shown in (
        ("GAUC", "0.7000"),
        ("log loss", "0.3000"),
        ("predicted/observed", "1.0200 ± 0.0100"),
    ):
        assert shown in "".join(line_of(text.partition(f"## {title}")[2], "`dtn`"))
    assert "ECE" not in text
    assert f'overall,dtn,"","",{KEYS[0]},ece,1,0.1\n' in table
    assert line_of(text.partition("## log loss")[2], "a constant")[1:] == ["0.3251"] * 2  # by hand


def test_of_a_metric_with_a_target_the_nearest_is_the_best(told, page):
    def edit(results, draws):
        value = {"dtn": 1.2, "mmoe": 0.9, "ple": 0.5}[results["architecture"]]
        of_task(KEYS[0], predicted_observed=value, logloss=value)(results, draws)

    told(AUCS, edit=edit)
    for title, best in (("predicted/observed", "mmoe"), ("log loss", "ple")):
        part = page().partition(f"## {title}")[2]
        bold = [name for name in AUCS if "**" in line_of(part, f"`{name}`")[1]]
        assert bold == [best]


@pytest.fixture
def whole(told, monkeypatch):
    """A table with everything that it may have, and its content."""
    known = {"trees": TREES, "Bayes-optimal": BEST}
    monkeypatch.setattr(references, "of_data", lambda data: known)
    return told(AUCS, published=PUBLISHED, edit=of_task(KEYS[1], positives=99))


def settled(form, text):
    """Without the notes, which hold dates and versions; numbers of CSV to four digits."""
    if form == "md":
        return "".join(line for line in text.splitlines(True) if line[0] in "|#")
    if form == "tex":
        return re.sub(r"(?s)\\\\\[2pt\] \\parbox.*?\n(?=\\end\{table\})", "", text)
    return re.sub(r"-?\d+\.\d+(e-\d+)?", lambda number: f"{float(number[0]):.4g}", text)


def test_each_form_is_as_recorded(whole, tmp_path):
    for form in ("md", "tex", "csv"):
        made = settled(form, (tmp_path / f"adult/overall.{form}").read_text())
        assert made == (SNAPSHOTS / f"overall.{form}").read_text()
    text = (tmp_path / "adult/overall.md").read_text()
    assert "trees (trees 1.0)" in text
    assert "trees: grown, not trained" in text


def test_a_shortened_table_claims_nothing(told, tmp_path):
    told(AUCS, "--quick", published=PUBLISHED)
    text = (tmp_path / "adult-shortened/overall.md").read_text()
    assert not {"↑", "↓"} & set(text)
    assert "A paper" not in text


def test_a_narrow_terminal_shows_every_auc_whole(told, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(screen, "console", lambda: rich.console.Console(file=shown, width=80))
    told(AUCS)
    tables, _, _ = shown.getvalue().partition("↓ ↑")
    assert "…" not in tables
    assert "0.81002 ± 0.00001" in tables
    assert "AUC less that of dtn" in " ".join(tables.split())


def test_delta_m_is_the_mean_gain_over_single_task_models(told, page):
    aucs = {"dtn": 0.81, "single_task": 0.80}
    other = of_task(KEYS[1], auc=0.6)  # of all alike
    told(aucs, edit=other, delta_m="single_task")
    header, row = line_of(page(), " "), line_of(page(), "`dtn`")
    assert float(row[header.index("Δm %")]) == pytest.approx(100 * (0.01 / 0.80002) / 2, abs=0.006)
    assert line_of(page(), "`single_task`")[header.index("Δm %")] == "+0.00"
    assert "the mean of the tasks (Maninis" in page()
