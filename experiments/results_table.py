"""Writes the tables of the pages from the JSON of paper_tables and benchmark.

A table stands between `<!-- results: NAME -->` and `<!-- end -->`; the rest of the file stays as it
is. --check writes nothing; its exit code says whether the tables are up to date.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import re
import sys
from collections.abc import Sequence

from dtn_jax.balancing import BALANCERS
from dtn_jax.cli import command
from dtn_jax.errors import UserError
from dtn_jax.papertables.grids import (
    ALIKE,
    grids,
    main_grid,
    marks,
    opponent,
    transfer_cost,
)
from dtn_jax.papertables.numbers import DIVERGENCE, comparisons
from dtn_jax.report.grid import Grid
from experiments.benchmark import cell_text
from experiments.benchmarks.measured import Goal

EXAMPLE = "python -m experiments.results_table"
OPTIONS = {"check": "only compare, write nothing"}
RESULTS = pathlib.Path(__file__).parent / "results"
BENCHMARK, PAPER = "benchmark", "paper"  # folders of experiments/results
GOALS = pathlib.Path("experiments/results/benchmark/README.md")
PAGES = tuple(
    pathlib.Path("docs") / f"{page}.md" for page in ("results", "performance", "losses", "serving")
)
DOCUMENTS = (pathlib.Path("README.md"), GOALS, GOALS.with_name("faults.md"), *PAGES)
RIVALS = ("dtn_jax", "tuned PyTorch", "FuxiCTR", "torch-rechub, no batch normalisation")
PLACE = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    for document in DOCUMENTS:
        text = document.read_text()
        written = PLACE.sub(lambda place: place[1] + table(place[2]) + place[3], text)
        if known.check and written != text:
            raise UserError(f"{document} is not what {EXAMPLE} writes; run it")
        if not known.check:
            document.write_text(written)


def table(name: str) -> str:
    """The Markdown table called `benchmark`, `speed`, `balancers`, rows_SUITE, TABLE_DATASET or
    short_TABLE_DATASET.

    Raises:
      OSError: there is no table of that name.
    """
    whole = {BENCHMARK: performance_table, "speed": speed_table, "balancers": balancers_table}
    if name in whole:
        return whole[name]()
    kind, _, dataset = name.partition("_")
    if kind == "rows":
        return rows_table(dataset)
    if kind == "short":
        return short_table(*dataset.split("_", 1))
    return paper_table(kind, dataset)


def paper_table(kind: str, dataset: str) -> str:
    """The first table of experiments/results/paper/<dataset>/<kind>.json.gz, whole."""
    results = paper_results(kind, dataset)
    whole = grids(results)[0] if kind == DIVERGENCE else main_grid(results, marks)
    return f"{whole.markdown()}\n"


def short_table(kind: str, dataset: str) -> str:
    """That table's AUCs of the tasks that are tested, its FLOPs, and what a reader must know."""
    results = paper_results(kind, dataset)
    whole = main_grid(results, marks)
    shown = {f"AUC {key}" for key in tested(results)} | {"", "FLOPs"}
    chosen = [i for i, name in enumerate(whole.header) if name in shown]
    return f"{whole.take(chosen).markdown()}\n{brief(results)}\n\n"


def brief(results: dict) -> str:
    """What a reader of the table must know, in short sentences."""
    finalists, seeds = results["finalists"]
    cost = results["trials"] + (finalists * seeds if finalists > 1 else 0)
    cost += round(transfer_cost(results))
    return (
        f"Test AUC, mean ± sd of {results['seeds']} seeds. Each row was tuned on validation at the "
        f"cost of {cost} runs. Bold: our highest mean. ↓ significantly below {opponent(results)} "
        f"(p < 0.05, Holm). {ALIKE} within seed noise. No mark: not significant."
    )


def tested(results: dict) -> list[str]:
    """task@space of what a table compares."""
    return list(dict.fromkeys(key for row in results["rows"] for key in comparisons(row)))


def paper_results(kind: str, dataset: str) -> dict:
    packed = (RESULTS / PAPER / dataset / f"{kind}.json.gz").read_bytes()
    return json.loads(gzip.decompress(packed))


def balancers_table() -> str:
    """A row for each balancer of the package, from its declaration and its docstrings."""
    rows = []
    for name, owner in BALANCERS.items():
        does = re.match(r".*?\.(?= |$)", " ".join(owner.__doc__.split()))[0]
        paper = " ".join(sys.modules[owner.__module__].__doc__.split("\n\n")[0].split())
        reads = "gradients" if owner.reads_gradients else "losses" if owner.reads_losses else ""
        rows.append((f"`{name}`", does, reads, paper))
    header = ("`loss.balancing`", "what it does", "reads", "paper")
    return Grid(header, rows, left=4, marked=True).markdown() + "\n"


def speed_table() -> str:
    """Of each setting and framework: how its tables learn, examples a second and how many times as
    fast dtn_jax is, and the loss that it reaches."""
    rows = []
    for (model, table_rows), rivals in fastest().items():
        rows.append((f"**{model}, {table_rows:,} table rows**", "", "", "", ""))
        for name in (name for name in RIVALS if name in rivals):
            row = rivals[name]
            times = f"{row['times']:.1f}" if name != RIVALS[0] else ""
            loss = f"{row['loss']:.3f}" + (f" ± {row['sd']:.3f}" if "sd" in row else "")
            rows.append((name, row["tables"], f"{row['examples/s']:,.0f}", times, loss))
    header = ("", "tables learn by", "examples/s", "dtn_jax: times as fast", "loss")
    return Grid(header, rows, left=2, marked=True).markdown() + "\n"


def fastest() -> dict[tuple[str, int], dict[str, dict]]:
    """{(model, table rows): {rival: its row}}, of a rival's variants the fastest."""
    settings: dict[tuple[str, int], dict[str, dict]] = {}
    for row in read("peers")["rows"]:
        rivals = settings.setdefault((row["model"], row["table rows"]), {})
        for name in RIVALS:
            if row["framework"].startswith(name):
                rivals[name] = max(row, rivals.get(name, row), key=lambda one: one["examples/s"])
    return settings


def read(suite: str) -> dict:
    return json.loads((RESULTS / BENCHMARK / f"{suite}.json").read_text())


def rows_table(suite: str) -> str:
    """What a suite measured, the columns that a terminal shows."""
    measured = read(suite)
    columns = measured["shown"] or list(measured["rows"][0])
    left = sum(isinstance(measured["rows"][0][column], str) for column in columns)
    rows = [[cell_text(row[column]) for column in columns] for row in measured["rows"]]
    when = f"{measured['machine']}, jax {measured['versions']['jax']}, {measured['date']}"
    return f"{Grid(columns, rows, left=left).markdown()}\n{measured['title']}. {when}.\n\n"


def performance_table() -> str:
    """A row for each goal of each suite in experiments/results/benchmark."""
    suites = sorted(path.stem for path in (RESULTS / BENCHMARK).glob("*.json"))
    rows, conditions = [], []
    for suite in suites:
        measured = read(suite)
        for goal in (Goal(**given) for given in measured["goals"]):
            wanted = f"{'≥' if goal.at_least else '≤'} {goal.wanted:.3g}"
            missed = "" if goal.met else "missed"
            rows.append((suite, goal.name, f"{goal.got:.3g}", wanted, missed))
        on = f"{measured['machine']}, jax {measured['versions']['jax']}, {measured['date']}"
        conditions.append(f"{suite}: {on}, {measured['seconds']} s")
    header = ("suite", "measured", "got", "goal", "")
    how = "`python -m experiments.benchmark --suite=all`. " + "; ".join(conditions) + "."
    return f"{Grid(header, rows, left=2).markdown()}\n{how}\n\n"


if __name__ == "__main__":
    command.run(main)
