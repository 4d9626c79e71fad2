"""One version, with one date, in the package, CHANGELOG.md and CITATION.cff; what CI runs."""

import pathlib
import re
import tomllib

import yaml

import dtn_jax

ROOT = pathlib.Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
CHANGES = (ROOT / "CHANGELOG.md").read_text()
HEADINGS = re.findall(r"^## (.*)$", CHANGES, re.M)
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_the_changelog_begins_with_what_is_unreleased_and_then_this_version():
    assert HEADINGS[0] == "[Unreleased]"
    newest = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", HEADINGS[1])
    assert newest
    assert newest[1] == dtn_jax.__version__
    assert newest[2] == CITATION["date-released"].isoformat()
    dates = [heading.split(" - ")[1] for heading in HEADINGS[1:]]
    assert dates == sorted(dates, reverse=True)


def test_changes_are_of_the_usual_kinds():
    assert set(re.findall(r"^### (.*)$", CHANGES, re.M)) <= set(KINDS)


def test_the_citation_is_of_this_version_and_names_the_paper():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CITATION["version"] == dtn_jax.__version__
    assert CITATION["title"] == project["name"]
    assert CITATION["license"] == project["license"]
    assert [{"name": a["name"]} for a in CITATION["authors"]] == project["authors"]
    (paper,) = CITATION["references"]
    assert paper["url"] == project["urls"]["Paper"]
    assert len(paper["authors"]) == 17


def test_the_workflow_runs_targets_of_the_makefile():
    flow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert flow[True].keys() == {"push", "pull_request", "schedule"}  # YAML takes `on` for a truth
    runs = {
        name: [s["run"] for s in job["steps"] if "run" in s] for name, job in flow["jobs"].items()
    }
    assert runs == {"test": ["make test"], "nightly": ["make nightly"]}
    assert flow["jobs"]["nightly"]["if"] == "github.event_name == 'schedule'"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert {"test", "nightly"} <= set(targets)
