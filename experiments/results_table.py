"""Writes the result tables of the READMEs from the JSON of paper_tables and benchmark.

The files are README.md, experiments/results/benchmark/README.md and pages of docs/. A table stands
between `<!-- results: NAME -->` and `<!-- end -->`; the rest of the file stays as it is. --check
writes nothing; its exit code says whether the tables are up to date.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.errors import UserError, choose
from dtn_jax.papertables.entries import TABLES
from dtn_jax.papertables.grids import (
    ALIKE,
    footnotes,
    grids,
    main_grid,
    marks,
    opponent,
    transfer_cost,
)
from dtn_jax.papertables.numbers import DIVERGENCE, comparisons
from experiments.benchmark import cell_text
from experiments.benchmarks.compiled.written import markdown as compiled_table
from experiments.benchmarks.measured import Goal

EXAMPLE = "python -m experiments.results_table"
RESULTS = pathlib.Path(__file__).parent / "results"
BENCHMARK, PAPER = "benchmark", "paper"  # folders of experiments/results
COMPILED = "compiled"  # a suite with a table
GOALS = pathlib.Path("experiments/results/benchmark/README.md")
PAGES = tuple(pathlib.Path("docs") / f"{page}.md" for page in ("results", "scoring", "serving"))
DOCUMENTS = (pathlib.Path("README.md"), GOALS, *PAGES)
ROWS = "rows"  # with a suite's name: its whole table
PEERS = "peers"  # the suite beside other frameworks
SHORT = "short"  # before TABLE_DATASET: the columns that README has room for
SPEED = "speed"  # training speed beside other frameworks
RIVALS = ("dtn_jax", "tuned PyTorch", "FuxiCTR", "torch-rechub, no batch normalisation")
PLACE = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    known = parser.parse_args(arguments)
    for document in DOCUMENTS:
        text = document.read_text()
        written = PLACE.sub(lambda found: found[1] + table(found[2]) + found[3], text)
        if known.check and written != text:
            raise UserError(f"{document} is not what {EXAMPLE} writes; run it")
        if not known.check:
            document.write_text(written)


def table(name: str) -> str:
    """The Markdown table called `benchmark`, `compiled`, `speed`, rows_SUITE, TABLE_DATASET or
    short_TABLE_DATASET.

    Raises:
      UserError: there is no table of that name, or nothing to make it from.
    """
    if name == BENCHMARK:
        return performance_table()
    if name == COMPILED:
        return compiled_table(json.loads((RESULTS / BENCHMARK / f"{COMPILED}.json").read_text()))
    if name == SPEED:
        return speed_table()
    kind, _, dataset = name.partition("_")
    if kind == ROWS:
        return rows_table(dataset)
    if kind == SHORT:
        return short_table(*dataset.split("_", 1))
    return paper_table(kind, dataset)


def paper_table(kind: str, dataset: str) -> str:
    """The first table of experiments/results/paper/<dataset>/<kind>.json.

    Its notes are short, except for `divergence`, whose tuning and tests are of another kind.
    """
    found = paper_results(kind, dataset)
    if kind == DIVERGENCE:
        return f"{grids(found)[0].markdown()}\n{' '.join(footnotes(found))}\n\n"
    whole = main_grid(found, marks).markdown()
    place = f"experiments/results/{PAPER}/{dataset}/{kind}.md"
    return f"{whole}\n{brief(found)} All notes: `{place}`.\n\n"


def short_table(kind: str, dataset: str) -> str:
    """That table's AUCs, FLOPs and seconds."""
    found = paper_results(kind, dataset)
    whole = main_grid(found, marks)
    shown = [i for i, name in enumerate(whole.header) if re.match(r"$|AUC |FLOPs|train s", name)]
    return f"{whole.take(shown).markdown()}\n{brief(found)}\n\n"


def brief(found: dict) -> str:
    """What a reader of the table must know, in two sentences."""
    finalists, seeds = found["finalists"]
    cost = found["trials"] + (finalists * seeds if finalists > 1 else 0)
    cost += round(transfer_cost(found))
    told = (
        f"Test AUC, mean ± sd of {found['seeds']} seeds not used for tuning, each of ours tuned "
        f"on validation at the cost of {cost} runs. Bold: our highest mean"
    )
    if cut := found.get("shortened"):  # such a table has no arrows
        return f"Shortened, to try it out: {'; '.join(cut)}. {told}."
    tasks = f" on {' and '.join(found['tested'])}" if found["tested"] else ""
    return (
        f"{told}; ↓ ↑: below or above {opponent(found)}{tasks} at p < 0.05, corrected over the "
        f"table; {ALIKE}: nearer to it than twice the seeds' sd.{untested(found)}"
    )


def untested(found: dict) -> str:
    """Which columns have no marks because nothing was tested there."""
    tested = {key for row in found["rows"] for key in comparisons(row)}
    keys = [key for key in found["rows"][0]["metrics"] if key not in tested]
    return f" Not tested: {', '.join(keys)}." if keys else ""


def paper_results(kind: str, dataset: str) -> dict:
    choose("table in a document", kind, TABLES)
    path = RESULTS / PAPER / dataset / f"{kind}.json"
    if not path.exists():
        raise UserError(f"a document has a place for {kind}_{dataset}, but {path} is not there")
    return json.loads(path.read_text())


def speed_table() -> str:
    """Examples a second of each framework and setting, and how many times as fast dtn_jax is."""
    measured = fastest()
    settings = [f"{model}, {rows:,} table rows" for model, rows in measured]
    lines = [f"| | {' | '.join(settings)} |", "| --- |" + " ---: |" * len(settings)]
    for name in RIVALS:
        cells = [speed_cell(*own[name]) if name in own else "" for own in measured.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def fastest() -> dict[tuple[str, int], dict[str, tuple[float, float]]]:
    """{(model, table rows): {rival: (examples a second, times)}}, of a rival's variants the
    fastest; `times` says how many times as fast dtn_jax is."""
    found = json.loads((RESULTS / BENCHMARK / f"{PEERS}.json").read_text())
    speeds: dict[tuple[str, int], dict[str, tuple[float, float]]] = {}
    for row in found["rows"]:
        own = speeds.setdefault((row["model"], row["table rows"]), {})
        for name in RIVALS:
            if row["framework"].startswith(name):
                got = (row["examples/s"], row["times"])
                own[name] = max(got, own.get(name, got))
    return speeds


def rows_table(suite: str) -> str:
    """What a suite measured, the columns that a terminal shows."""
    found = json.loads((RESULTS / BENCHMARK / f"{suite}.json").read_text())
    columns = found["shown"] or list(found["rows"][0])
    are_texts = [isinstance(found["rows"][0][column], str) for column in columns]
    rule = "".join(" --- |" if text else " ---: |" for text in are_texts)
    lines = [f"| {' | '.join(columns)} |", f"|{rule}"]
    for row in found["rows"]:
        lines.append(f"| {' | '.join(cell_text(row[column]) for column in columns)} |")
    when = f"{found['machine']}, jax {found['versions']['jax']}, {found['date']}"
    return "\n".join(lines) + f"\n\n{found['title']}. {when}.\n\n"


def speed_cell(examples: float, times: float) -> str:
    return f"{examples:,.0f}" + (f" ({times:.1f} ×)" if times > 1 else "")


def performance_table() -> str:
    """A row for each goal of each suite in experiments/results/benchmark."""
    files = sorted((RESULTS / BENCHMARK).glob("*.json"))
    if not files:
        raise UserError(f"a place for benchmarks, but {RESULTS / BENCHMARK} is empty")
    lines = ["| suite | measured | got | goal | |", "| --- | --- | ---: | ---: | --- |"]
    conditions = []
    for path in files:
        found = json.loads(path.read_text())
        for goal in (Goal(**given) for given in found["goals"]):
            sign = "≥" if goal.at_least else "≤"
            cells = (path.stem, goal.name, f"{goal.got:.3g}", f"{sign} {goal.wanted:.3g}")
            lines.append(f"| {' | '.join(cells)} | {'' if goal.met else 'missed'} |")
        versions = found["versions"]
        conditions.append(
            f"{path.stem}: {found['machine']}, jax {versions['jax']}, {found['date']}, "
            f"{found['seconds']} s"
        )
    how = "`python -m experiments.benchmark --suite=all`. " + "; ".join(conditions) + "."
    return "\n".join(lines) + f"\n\n{how}\n\n"


if __name__ == "__main__":
    command.run(main)
