"""What the repository keeps of tables, what configs are tuned to, and what documents say."""

import datetime
import json
import math
import re
import subprocess

import pytest

from dtn_jax.config.files import TUNED
from dtn_jax.papertables import pictures
from dtn_jax.papertables.grids import is_alike
from dtn_jax.papertables.numbers import comparisons
from dtn_jax.papertables.protocol import load
from dtn_jax.papertables.written import markdown, write_verdicts
from dtn_jax.places import folder, protocol_groups, protocols
from experiments import keep_tables, results_table
from experiments.results_table import PAPER, RESULTS, paper_results

MEBIBYTES = 2.0  # of experiments/results


@pytest.mark.parametrize("path", sorted(TUNED.glob("*.json")), ids=lambda path: path.stem)
def test_configs_are_tuned_as_their_tables_rows(path):
    settings = keep_tables.tuned(path.stem, paper_results("overall", path.stem))
    assert "dtn" in settings
    assert settings == json.loads(path.read_text())


FIRST = sorted((RESULTS / PAPER).glob("first_*/overall.md"))


@pytest.mark.parametrize("path", FIRST, ids=lambda path: path.parent.name)
def test_runs_of_first_are_those_that_its_protocol_asked_for(path):
    name = path.parent.name
    table, protocol = paper_results("overall", name), load(protocols()[name])
    assert [row["name"] for row in table["rows"]] == [*protocol.entries]
    assert table["missing"] == {}
    for row in table["rows"]:
        assert row["seeds"] == [*range(1, protocol.runs_of(row["name"]) + 1)]
        settings = protocol.settings(row["name"])
        assert {key: row["config"].get(key, str(value)) for key, value in settings.items()} == {
            key: str(value) for key, value in settings.items()
        }
    runs = [run for row in table["rows"] for run in row["runs"]]
    assert list(table["scores"]) == runs
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in table["scores"].values())
    names = [(claim["family"], claim["row"], claim["than"]) for claim in table["claims"]]
    assert names == [(claim.family, claim.row, claim.than) for claim in protocol.claims]
    if git("rev-parse", "--is-shallow-repository") == ["false"]:  # nor outside of a clone
        written, kept = map(added, (folder("protocols") / "_first.py", path))
        assert written < kept
        day = datetime.datetime.fromtimestamp(written, datetime.UTC).date().isoformat()
        assert day <= table["cell_dates"][0]


def git(*arguments):
    """The lines of what git says of the repository's history; none where it has none."""
    call = ["git", "-C", str(RESULTS), *arguments]
    return subprocess.run(call, capture_output=True, text=True).stdout.split()


def added(path):
    """When a file was first committed, in seconds; infinite for one that is not yet."""
    times = git("log", "--diff-filter=A", "--format=%ct", "--", str(path))
    return int(times[-1]) if times else math.inf


TABLES = [
    (path.name.partition(".")[0], path.parent.name)
    for path in sorted((RESULTS / PAPER).glob("*/*.json.gz"))
]


@pytest.mark.parametrize(("kind", "name"), TABLES)
def test_a_table_is_printed_as_before(kind, name):
    page = (RESULTS / PAPER / name / f"{kind}.md").read_text()
    assert markdown(paper_results(kind, name)) == page
    assert "--workdir" not in page


@pytest.mark.parametrize("place", ["--workdir=/a/b", "--data_dir /c", "'--manual_dir=/my data'"])
def test_a_kept_table_names_no_folder(place):
    command = "- `dtn-jax paper_tables --dataset=adult{} --table=overall`; runs of today"
    assert keep_tables.LEFT_OUT.sub("", command.format(f" {place}")) == command.format("")


def test_verdicts_over_sets_are_those_of_the_committed_tables(tmp_path):
    sets = {tmp_path / name: load(protocols()[name]) for name in protocol_groups()["first"]}
    for path in sets:
        path.mkdir()
        (path / "overall.json").write_text(json.dumps(paper_results("overall", path.name)))
    write_verdicts(sets, tmp_path / "first.md")
    page = keep_tables.LEFT_OUT.sub("", (tmp_path / "first.md").read_text())
    assert page == (RESULTS / PAPER / "first.md").read_text()


def test_pictures_side_by_side_have_one_scale():
    figure = pictures.mean_gaps(paper_results("divergence", "divergence"))
    ends = {axes.get_ylim() for axes in figure.axes}
    assert len(ends) == 1


def test_differences_within_seed_noise_are_hollow():
    conflict = paper_results("overall", "conflict")
    alike = [is_alike(test) for row in conflict["rows"] for test in comparisons(row).values()]
    points = [
        line
        for axes in pictures.differences(conflict).axes
        for line in axes.lines
        if line.get_marker() == "o"
    ]
    assert len(points) == len(alike)
    assert sum(line.get_markerfacecolor() == "white" for line in points) == sum(alike) > 0


def test_of_many_rows_the_legend_names_those_that_none_beats():
    """For no more FLOPs, in some panel; all others are grey."""
    zoo = paper_results("overall", "zoo_adult")
    leading = set()
    for key in ("income@all", "never_married@all"):
        models = pictures.by_flops(zoo, key)
        for name, (flops, mean, _) in models.items():
            others = [one for other, one in models.items() if other != name]
            if not any(f <= flops and m >= mean for f, m, _ in others):
                leading.add(name)
    (legend,) = pictures.cost(zoo).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert set(names[:-1]) == leading
    assert names[-1] == pictures.OTHERS


def test_results_stay_small():
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".gz", ".md"}
    assert sum(path.stat().st_size for path in files) < MEBIBYTES * 2**20


def test_the_documents_say_what_the_results_say():
    results_table.main(["--check"])


def test_the_short_table_has_the_cells_of_the_long_one():
    long, short = (
        [line.split(" | ") for line in results_table.table(name).splitlines() if line[:1] == "|"]
        for name in ("overall_kuairand", "short_overall_kuairand")
    )
    assert len(short) == len(long)
    kept = [long[0].index(name) for name in short[0][1:-1]]
    assert short[0][1:-1] == ["AUC click@all", "AUC long_view@all"]
    assert [row[1:-1] for row in short] == [[row[i] for i in kept] for row in long]


@pytest.mark.parametrize(
    ("kind", "data", "row", "rival"),
    [
        ("overall", "balancing_kuairand", "shared_bottom, upgrad", "shared_bottom, static"),
        ("overall", "balancing_kuairand", "mmoe, upgrad", "mmoe, static"),
        ("interactions", "adult", "mmoe, gdcn", "dtn, gdcn"),
        ("interactions", "adult", "dtn, gdcn", "dtn, mlp"),
    ],
)
def test_where_rows_have_different_rivals_the_table_names_each_ones(kind, data, row, rival):
    page = markdown(paper_results(kind, data))
    assert "## AUC less that of its rival: difference" in page
    assert f"| `{row}` | `{rival}` |" in page


def test_where_all_rows_have_one_rival_the_heading_names_it():
    page = markdown(paper_results("overall", "adult"))
    assert "## AUC less that of dtn: difference" in page
    assert "rival" not in page
