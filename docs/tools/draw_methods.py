"""Draws docs/pictures/all_methods.png: the AUC of all methods by their cost.

Run it from the repository: `python docs/tools/draw_methods.py`. The numbers are those of the kept
tables of the protocols `zoo_adult` and `zoo_seven`.
"""

from __future__ import annotations

import gzip
import json
import pathlib

import numpy as np
from matplotlib.figure import Figure
from small_pictures import shrink

from dtn_jax.papertables import pictures
from dtn_jax.report.pictures import header

ROOT = pathlib.Path(__file__).parents[2]
PICTURE = ROOT / "docs/pictures/all_methods.png"
SETS = {"zoo_adult": "UCI Adult", "zoo_seven": "Census-Income, seven labels"}


def means(name: str) -> dict[str, tuple[int, float, float]]:
    """{row: its FLOPs, the mean AUC of the tasks and its deviation over seeds}, of a kept table."""
    path = ROOT / f"experiments/results/paper/{name}/overall.json.gz"
    found = {}
    for row in json.loads(gzip.decompress(path.read_bytes()))["rows"]:
        by_seed = np.mean([of["auc"] for of in row["metrics"].values()], axis=0)
        found[row["name"]] = row["flops"], by_seed.mean(), by_seed.std(ddof=1)
    return found


def draw() -> Figure:
    figure = pictures.points({title: means(name) for name, title in SETS.items()})
    note = "Grey: in each panel another row is higher, for no more FLOPs."
    header(figure, "mean test AUC of the tasks, mean ± sd of 3 seeds", note)
    return figure


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=pictures.DPI)
    shrink(PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")
