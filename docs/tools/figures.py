"""Figures in the sentences of README, pages and tuning.md, from the files of experiments/results.

A figure stands between two comments that no reader sees, as in
`<!--=auc/adult/overall/dtn/income@all-->0.9251<!--/-->`. `python docs/tools/figures.py` writes them
all again; a test compares them. KEY is one of

    auc/SET/TABLE/ROW/TASK@SPACE      the mean over seeds; a reference's AUC
    gap/SET/TABLE/ROW/TASK@SPACE      the row's mean less that of the row that it is tested against
    less/SET/TABLE/ROW/ROW/TASK@SPACE the mean of the first row less that of the second
    p/SET/TABLE/ROW/TASK@SPACE        Holm's p of that comparison
    claim/SET/FAMILY/ROW/WHAT         of a claim: its difference, low, high, or worse, the margin
    times/MODEL/TABLE_ROWS/FRAMEWORK  how many times as fast dtn_jax is
    rate/SUITE/N/COLUMN               a column of a suite's Nth row
    faults/WORD                       counts

where a name has its spaces left out: `mmoe,dcnv2`.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import numpy as np

from dtn_jax.papertables.grids import p_value
from experiments import results_table

ROOT = pathlib.Path(__file__).parents[2]
PLACE = re.compile(r"(<!--=([^\s>]+)-->).*?(<!--/-->)")


def files() -> list[pathlib.Path]:
    pages = sorted(ROOT.glob("docs/**/*.md"))
    return [ROOT / "README.md", *pages, results_table.RESULTS / "tuning.md"]


def written(text: str) -> str:
    """A page with today's figures."""
    return PLACE.sub(lambda place: place[1] + figure(place[2]) + place[3], text)


def figure(key: str) -> str:
    """The text of a figure.

    Raises:
      KeyError: nothing has that name.
    """
    kind, *parts = key.split("/")
    return FIGURES[kind](*parts)


def auc(data: str, table: str, name: str, task: str) -> str:
    return f"{mean(data, table, name, task):.{digits(task)}f}"


def gap(data: str, table: str, name: str, task: str) -> str:
    return signed(row(data, table, name)["comparison"][task]["difference"], digits(task))


def less(data: str, table: str, one: str, other: str, task: str) -> str:
    return signed(mean(data, table, one, task) - mean(data, table, other, task), digits(task))


def holm(data: str, table: str, name: str, task: str) -> str:
    found = row(data, table, name)["comparison"][task]
    return f"p {p_value(found['p_holm'], found['p'] <= found['least'])}"


def claim(data: str, family: str, name: str, what: str) -> str:
    for one in results_table.paper_results("overall", data)["claims"]:
        if one["family"] == family and one["row"].replace(" ", "") == name:
            return f"{one[what]:.4f}" if what == "worse" else signed(one[what], 4)
    raise KeyError(name)


def row(data: str, table: str, name: str) -> dict:
    rows = results_table.paper_results(table, data)["rows"]
    return {one["name"].replace(" ", ""): one for one in rows}[name]


def mean(data: str, table: str, name: str, task: str) -> float:
    outside = results_table.paper_results(table, data)["references"]
    known = {one.replace(" ", ""): found["test"] for one, found in outside.items()}
    if name in known:
        found = known[name][task]
        return found["auc"] if isinstance(found, dict) else found
    return float(np.mean(row(data, table, name)["metrics"][task]["auc"]))


def signed(number: float, places: int) -> str:
    return f"{number:+.{places}f}".replace("-", "−")


def digits(task: str) -> int:
    """Decimals of an AUC; differences on never_married need one more."""
    return 5 if task == "never_married@all" else 4


def peer(model: str, rows: str, name: str) -> dict:
    known = results_table.fastest()[model, int(rows)]
    return {one.replace(" ", ""): found for one, found in known.items()}[name]


def rate(suite: str, number: str, column: str) -> str:
    found = results_table.read(suite)["rows"][int(number)]
    return f"{ {name.replace(' ', ''): cell for name, cell in found.items()}[column]:,.0f}"


FIGURES: dict[str, Callable[..., str]] = {
    "auc": auc,
    "gap": gap,
    "less": less,
    "p": holm,
    "claim": claim,
    "times": lambda *key: f"{peer(*key)['times']:.1f}",
    "rate": rate,
    "faults": lambda word: f"{sum(one[word] for one in results_table.read('faults')['rows']):,}",
}

if __name__ == "__main__":
    for page in files():
        page.write_text(written(page.read_text()))
