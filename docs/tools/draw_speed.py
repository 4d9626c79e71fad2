"""Draws docs/pictures/speed.png: training speed beside other frameworks.

Run it from the repository: `python docs/tools/draw_speed.py`. The numbers are those of
experiments/results/benchmark/peers.json; of a framework's variants it shows the fastest.
"""

from __future__ import annotations

import pathlib

from matplotlib.figure import Figure
from small_pictures import shrink

from experiments import results_table

ROOT = pathlib.Path(__file__).parents[2]
PICTURE = ROOT / "docs/pictures/speed.png"
INK, FAINT, OURS, OTHERS = "#1f2328", "#59636e", "#0969da", "#afb8c1"
NAMES = ("dtn_jax", "tuned PyTorch", "FuxiCTR", "torch-rechub")
MODEL = "mmoe"


def speeds() -> dict[int, dict[str, float]]:
    """{table rows: {framework: examples a second}}, of MODEL."""
    return {
        rows: {name.partition(",")[0]: row["examples/s"] for name, row in own.items()}
        for (model, rows), own in results_table.fastest().items()
        if model == MODEL
    }


def draw() -> Figure:
    figure = Figure(figsize=(6.4, 4.8), facecolor="white", layout="constrained")
    for axes, (rows, known) in zip(figure.subplots(2, 1), speeds().items()):
        values = [known[name] / 1000 for name in NAMES]
        colours = [OURS if name == NAMES[0] else OTHERS for name in NAMES]
        bars = axes.barh(NAMES, values, color=colours, height=0.66)
        axes.bar_label(bars, [f"{v:.0f}" for v in values], padding=4, color=INK, fontsize=13)
        title = f"{rows:,} table rows" if rows < 10_000 else f"{rows / 1e6:.0f} million table rows"
        axes.set_title(title, loc="left", color=INK, fontsize=14)
        axes.set_xlim(0, 165)
        axes.invert_yaxis()
        axes.tick_params(colors=INK, labelsize=13, length=0)
        axes.tick_params(axis="x", labelbottom=False)
        axes.spines[:].set_visible(False)
    figure.supxlabel("thousand examples per second", color=FAINT, fontsize=12)
    return figure


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    draw().savefig(PICTURE, dpi=120)
    shrink(PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")
