"""The tables and the links of the documents."""

import json
import pathlib
import re

import pytest

from dtn_jax.errors import UserError
from experiments import benchmark, results_table
from experiments.suites.compiled.figures import COLUMNS
from experiments.suites.measured import Goal, Measured


@pytest.fixture
def readme(tmp_path, monkeypatch):
    """A document with a place for a table, `fill(name)`; what stands there after that."""
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    path = tmp_path / "README.md"
    monkeypatch.setattr(results_table, "DOCUMENTS", (path,))

    def fill(name: str) -> list[str]:
        path.write_text(f"before\n<!-- results: {name} -->\nold\n<!-- end -->\nafter\n")
        results_table.main([])
        results_table.main(["--check"])
        lines = path.read_text().splitlines()
        assert (lines[0], lines[-1]) == ("before", "after")
        assert "old" not in lines
        return lines

    return fill


def test_the_documents_say_what_the_results_say():
    results_table.main(["--check"])


def test_links_lead_somewhere():
    documents = [pathlib.Path("README.md"), *pathlib.Path("experiments").rglob("*.md")]
    links = [
        (document, link)
        for document in documents
        for link in re.findall(r"\]\(([^):]+)\)", document.read_text())
    ]
    assert len(links) > 20
    files = [(d, d.parent / link.partition("#")[0]) for d, link in links]
    assert [(d, file) for d, file in files if not file.exists()] == []


def test_a_document_that_is_not_up_to_date_is_told(readme, tmp_path):
    folder = tmp_path / "results" / "benchmark"
    for got in (0.9, 0.7):
        benchmark.write(folder, "step", Measured("ms", [], [Goal("share", 0.8, got)]), 1.0)
        if got == 0.9:
            readme("benchmark")
    with pytest.raises(UserError, match=r"README\.md is not what .*results_table writes"):
        results_table.main(["--check"])


def test_the_table_of_compiled_programs(readme, tmp_path):
    folder = tmp_path / "results" / "benchmark"
    row = dict.fromkeys(COLUMNS) | {"cell": "v5e:8x8,dtn", "error": "RESOURCE_EXHAUSTED"}
    fits = row | {"cell": "h100:8,dtn", "error": None, "peak MB": 1234.5, "of its memory": 0.015}
    fits |= {"copies a step": 1, "copies a chunk": 2}
    fits |= {"short copies a step": 0, "short copies a chunk": 5, "padded MB a step": 780.4}
    benchmark.write(folder, "compiled", Measured("x", [row, fits], [], ["Mind."]), 1.0)
    lines = readme("compiled")
    assert lines[4].startswith("| v5e:8x8,dtn | does not fit |  |  |  |  |")
    assert lines[5].startswith("| h100:8,dtn | 1,234 | 2% |  | 1 + 7 |  |")
    assert "| 780 |" in lines[5]
    assert "Mind." in lines


def test_the_performance_table_has_every_goal(readme, tmp_path):
    goals = [Goal("share", 0.8, 0.9), Goal("ratio", 1.1, 1.25, at_least=False)]
    folder = tmp_path / "results" / "benchmark"
    benchmark.write(folder, "step", Measured("ms", [{"a": 1}], goals), 12.3)
    lines = readme("benchmark")
    assert "| step | share | 0.9 | ≥ 0.8 |  |" in lines
    assert "| step | ratio | 1.25 | ≤ 1.1 | missed |" in lines
    assert any("12 s" in line and "jax " in line for line in lines)
    lines = readme("benchmark_summary")
    assert "| step | ratio | 1.25 | ≤ 1.1 | missed |" in lines
    assert not any("| step | share |" in line for line in lines)  # met
    assert any(line.startswith("1 of 2 goals are met") for line in lines)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("overal_adult", "unknown table in a document 'overal'. Did you mean 'overall'"),
        ("overall_adult", "a place for overall_adult, but .* is not there"),
        ("estimate_adult", "a place for .*adult/estimate.md, but it is not there"),
        ("benchmark", "a place for benchmarks, but .* is empty"),
    ],
)
def test_a_table_that_cannot_be_made_is_an_error(name, message, readme):
    with pytest.raises(UserError, match=message):
        readme(name)


def test_the_short_table_has_the_cells_of_the_long_one():
    long, short = (
        [line.split(" | ") for line in results_table.table(name).splitlines() if line[:1] == "|"]
        for name in ("overall_census_income", "short_overall_census_income")
    )
    assert len(short) == len(long)
    kept = [long[0].index(name) for name in short[0][1:-1]]
    assert [name[:3] for name in short[0][1:-1]] == ["AUC", "AUC", "FLO"]
    assert [row[1:-1] for row in short] == [[row[i] for i in kept] for row in long]


def test_small_differences_are_marked():
    kept = results_table.paper_results("overall", "adult")
    lines = results_table.table("overall_adult").splitlines()
    cells = {line.split("`")[1]: line.split(" | ")[2:4] for line in lines if line[:3] == "| `"}
    found = [
        ("≈" in cell, abs(row["comparison"][key]["difference"]) < row["comparison"][key]["two_sd"])
        for row in kept["rows"]
        if row["comparison"]
        for cell, key in zip(cells[row["name"]], ("income@all", "never_married@all"), strict=True)
    ]
    assert all(marked == small for marked, small in found)
    assert {marked for marked, _ in found} == {True, False}
    assert "≈: nearer to it than twice the seeds' sd. All notes" in lines[-2]
    told = results_table.table("overall_synthetic")
    assert "sd. Not tested: cart@click, order@cart, order@click. All notes" in told


def test_notes_are_short_and_a_shortened_table_has_no_arrows():
    whole, quick, transferred = (
        results_table.table(f"overall_{name}").strip().splitlines()[-1]
        for name in ("census_income", "ali_ccp_twin", "synthetic")
    )
    assert "at the cost of 22 runs." in transferred  # 6, 3 x 2, and of the others' settings 9.9
    assert (
        "5 seeds not used for tuning, each of ours tuned on validation at the cost of 18" in whole
    )
    assert "↓ ↑: below or above dtn at p < 0.05" in whole
    assert quick.startswith("Shortened, to try it out: train.max_steps=100 ")
    assert "tuned on validation at the cost of 2 runs." in quick
    assert "↓" not in quick


def test_intervals_follow_the_sentences_of_a_table(readme, tmp_path):
    path = tmp_path / "results" / "paper" / "divergence" / "divergence.json"
    path.parent.mkdir(parents=True)
    gain = {"at": "0", "truth": 0.3, "value": 0.002, "low": 0.001, "high": 0.003, "rival": ""}
    gain["p"] = 0.02
    found = {
        "sentences": ["From 0.5 on it pays.", "It is unclear."],
        "gains": {"`mmoe`": [gain]},
        "rows": [{"group": "divergence"}],
    }
    path.write_text(json.dumps(found))
    lines = [line for line in readme("sentences_divergence")[2:-2] if line]
    assert lines[:2] == ["From 0.5 on it pays.", "It is unclear."]
    assert lines[2].startswith("dtn less each: AUC × 1000, mean of tasks, 95 % interval")
    assert "Holm's correction" in lines[-1]
    assert lines[-2] == "| `mmoe` | +2.00 [+1.00, +3.00], p = 0.020 |"


def test_the_speed_table_has_the_fastest_variant(readme, tmp_path):
    rows = [
        {
            "model": "mmoe",
            "table rows": 2000,
            "framework": name,
            "examples/s": speed,
            "times": times,
        }
        for name, speed, times in (
            ("dtn_jax", 9000.0, 1.0),
            ("tuned PyTorch, compiled", 3000.0, 3.0),
            ("tuned PyTorch", 4500.0, 2.0),
            ("torch-rechub", 5.0, 1800.0),  # trains another model
        )
    ]
    benchmark.write(tmp_path / "results" / "benchmark", "peers", Measured("x", rows, []), 1.0)
    assert readme("speed")[2:6] == [
        "| | mmoe, 2,000 table rows |",
        "| --- | ---: |",
        "| dtn_jax | 9,000 |",
        "| tuned PyTorch | 4,500 (2.0 ×) |",
    ]
