"""Writes the tables of the documents from the JSON that paper_tables, compare and benchmark keep.

The documents are README.md and experiments/results/benchmark/README.md. Each table stands between
`<!-- results: NAME -->` and `<!-- end -->`; nothing else is touched. With --check nothing is
written, and the exit code says whether they are up to date.
"""

from __future__ import annotations

import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence

from dtn_jax.schema import UserError
from experiments import command, table_text
from experiments.compare import RESULTS
from experiments.suites.measured import Goal
from experiments.table_entries import TABLES
from experiments.table_text import short, spread

EXAMPLE = "python -m experiments.results_table"
BENCHMARK, PAPER = "benchmark", "paper"  # folders of experiments/results
ALL_GOALS = pathlib.Path("experiments/results/benchmark/README.md")
DOCUMENTS = (pathlib.Path("README.md"), ALL_GOALS)
SUMMED = "peers"  # the suite that the summary shows whole
PLACE = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    known = parser.parse_args(arguments)
    for document in DOCUMENTS:
        text = document.read_text()
        written = PLACE.sub(lambda found: found[1] + table(found[2]) + found[3], text)
        if known.check and written != text:
            raise UserError(f"{document} is not what {EXAMPLE} writes; call it")
        if not known.check:
            document.write_text(written)


def table(name: str) -> str:
    """The Markdown table of a name: benchmark or its summary, TABLE_DATASET of the paper's, or a
    comparison."""
    if name == BENCHMARK:
        return performance_table(every=True)
    if name == "benchmark_summary":
        return performance_table(every=False)
    kind, _, dataset = name.partition("_")
    if kind in TABLES:
        return paper_table(kind, dataset)
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise UserError(f"a document has a place for {name!r}, but {path} is not there")
    found = json.loads(path.read_text())
    entries, bayes = found["entries"], found.get("notes", {}).get("test_bayes_auc", {})
    keys = list(next(iter(entries.values()))["runs"][0]["test"])
    header = ["model", *(f"AUC {key}" for key in keys)]
    header += ["log loss", "ECE", "parameters", "FLOPs"]
    rows = [entry_row(label, entry, keys, bayes) for label, entry in entries.items()]
    if "order@all" in keys:
        first = next(iter(entries.values()))["runs"][0]["test"]
        halves = (f"± {1.96 * first[key]['auc_se']:.4f}" for key in keys)
        rows.append(["95 % interval of an AUC, by test rows", *halves, *[""] * 4])
    if bayes:
        rows.append(["Bayes-optimal", *(f"{bayes[key]:.4f}" for key in keys), *[""] * 4])
    for label, reference in found.get("reference", {}).items():
        aucs = (f"{reference['test'][key]:.4f}" for key in keys)
        rows.append([f"{label} ({reference['version']})", *aucs, *[""] * 4])
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    body = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return body + "\n" + footnote(found) + "\n"


def paper_table(kind: str, dataset: str) -> str:
    """The first of the tables that experiments/results/paper/<dataset>/<kind>.json makes."""
    path = RESULTS / PAPER / dataset / f"{kind}.json"
    if not path.exists():
        raise UserError(f"a document has a place for {kind}_{dataset}, but {path} is not there")
    found = json.loads(path.read_text())
    notes = " ".join(table_text.footnotes(found))
    return f"{table_text.markdown_table(table_text.texts(found)[0])}\n{notes}\n\n"


def performance_table(every: bool) -> str:
    """A row for each goal of each suite in experiments/results/benchmark, met or missed.

    Without `every` the goals of SUMMED and those missed have one.
    """
    files = sorted((RESULTS / BENCHMARK).glob("*.json"))
    if not files:
        raise UserError(f"a place for benchmarks, but {RESULTS / BENCHMARK} is empty")
    lines = ["| suite | measured | got | goal | |", "| --- | --- | ---: | ---: | --- |"]
    conditions, goals = [], []
    for path in files:
        found = json.loads(path.read_text())
        for goal in (Goal(**given) for given in found["goals"]):
            goals.append(goal)
            if goal.met and not every and path.stem != SUMMED:
                continue
            sign = "≥" if goal.at_least else "≤"
            met = "" if goal.met else "missed"
            cells = (path.stem, goal.name, f"{goal.got:.3g}", f"{sign} {goal.wanted:.3g}", met)
            lines.append(f"| {' | '.join(cells)} |")
        versions = found["versions"]
        conditions.append(
            f"{path.stem}: {found['machine']}, jax {versions['jax']}, {found['date']}, "
            f"{found['seconds']} s"
        )
    if every:
        how = "`python -m experiments.benchmark --suite=all`. " + "; ".join(conditions) + "."
    else:
        met = sum(goal.met for goal in goals)
        how = (
            f"{met} of {len(goals)} goals are met; beside `{SUMMED}` only what is missed stands "
            f"here. [All goals, how they were measured and what was tried]({ALL_GOALS})."
        )
    return "\n".join(lines) + f"\n\n{how}\n\n"


def entry_row(
    label: str, entry: Mapping, keys: Sequence[str], bayes: Mapping[str, float]
) -> list[str]:
    """A model's mean ± standard deviation over its seeds; log loss and ECE averaged over tasks."""
    runs = entry["runs"]
    cells = [f"`{label}`"]
    for key in keys:
        values = [run["test"][key]["auc"] for run in runs]
        cell = spread(values, 4)
        if key in bayes:
            share = (statistics.mean(values) - 0.5) / (bayes[key] - 0.5)
            cell += f" ({100 * share:.1f} %)"
        cells.append(cell)
    for metric in ("logloss", "ece"):
        averages = [statistics.mean(r["test"][key][metric] for key in keys) for r in runs]
        cells.append(spread(averages, 4))
    cells += [short(runs[0]["parameters"]), short(runs[0]["flops_per_example"])]
    return cells


def footnote(found: Mapping) -> str:
    """How the numbers came about."""
    entries = list(found["entries"].values())
    protocol, first = found["protocol"], entries[0]
    seeds = len(protocol["seeds"])
    dates = sorted({e["date"] for e in entries})
    tuned = "the same settings for all"
    if protocol["trials"]:
        tuned = f"each model tuned on validation with the same {protocol['trials']} trials"
    return (
        f"Test split, mean ± standard deviation over {seeds} seeds; {tuned}. "
        f"Parameters without embedding tables; forward FLOPs of one example. "
        f"`{first['command']}`, {dates[-1]}, jax {first['versions']['jax']}, "
        f"Python {first['versions']['python']}.\n"
    )


if __name__ == "__main__":
    command.run(main)
