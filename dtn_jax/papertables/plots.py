"""The pictures of the paper's tables, as PNG."""

from __future__ import annotations

import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from dtn_jax.papertables import gap_plots
from dtn_jax.papertables.content import comparisons
from dtn_jax.papertables.differences import opponent
from dtn_jax.papertables.notes import counted
from dtn_jax.papertables.numbers import LEVEL, fine, short, spread
from dtn_jax.papertables.panels import GREY, MARKERS, panels
from dtn_jax.papertables.printed import has, keys_of, with_ours
from dtn_jax.papertables.protocol import AGAIN
from dtn_jax.papertables.seeds import within
from dtn_jax.report.pictures import save_small as save
from dtn_jax.report.plots import COLOURS, GRID, LINES, NOTE
from dtn_jax.shared_files import replacing

DPI = 140
LEGEND = {"fontsize": 8, "frameon": False}


def draw(found: Mapping, stem: pathlib.Path) -> list[pathlib.Path]:
    """Draws what suits the table; returns the files, `<stem>_<kind>.png`.

    Each appears whole; what an earlier state of the table had and this one has not is deleted.
    """
    written = []
    for kind, picture in PICTURES[found["table"]].items():
        path = stem.with_name(f"{stem.name}_{kind}.png")
        figure = picture(found) if len(found["rows"]) > 1 else None
        if figure is None:
            path.unlink(missing_ok=True)
            continue
        with replacing(path) as temporary:
            save(figure, temporary, dpi=DPI, bbox_inches="tight")
        written.append(path)
    return written


def name(found: Mapping) -> str:
    """What a picture is of."""
    return f"{found['dataset']}, shortened" if "shortened" in found else found["dataset"]


def differences(found: Mapping) -> Figure | None:
    """Each row's AUC less that of what it is tested against, with 95 % intervals."""
    rows = [r for r in found["rows"] if comparisons(r)]
    keys = [k for k in keys_of(found) if any(k in comparisons(r) for r in rows)]
    if not rows:
        return None
    figure, axes_of = panels(len(keys), 3.1, 0.6 + 0.34 * len(rows), sharey=True)
    for axes, key in zip(axes_of, keys):
        for at, row in enumerate(rows):
            test = comparisons(row).get(key)
            if not test:
                continue
            sure = test["p_holm"] < LEVEL and "shortened" not in found
            colour = (COLOURS[0] if test["difference"] > 0 else COLOURS[1]) if sure else GREY
            axes.plot([1000 * test["low"], 1000 * test["high"]], [at, at], color=colour, lw=2)
            filled = "white" if within(test) else colour
            axes.plot(1000 * test["difference"], at, "o", color=colour, mfc=filled, ms=5)
        axes.axvline(0, color="black", lw=0.8)
        style(axes, key)
        axes.set_xlabel("AUC difference × 1000", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes_of[0].set_yticks(range(len(rows)), [r["name"] for r in rows])
    axes_of[0].set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
    figure.suptitle(
        f"{name(found)}: AUC less that of {opponent(found)}, 95 % interval\n",
        fontsize=11,
        x=0.01,
        ha="left",
        fontweight="bold",
    )
    told = f"coloured: p < {LEVEL} after Holm's correction"
    if "shortened" in found:
        told = "training was shortened: which learns faster, not which is better"
    if any(within(c) for r in rows for c in comparisons(r).values()):
        told += "; hollow: smaller than twice the seeds' sd"
    figure.text(0.99, 0.0, told, ha="right", va="top", **NOTE)
    return figure


def cost(found: Mapping) -> Figure | None:
    """AUC against forward FLOPs; what was tuned again has its marker a second time, hollow."""
    rows = found["rows"]
    names = [row["name"] for row in rows]
    few = {key for row in rows for key in row["few"]}
    keys = [k for k in keys_of(found) if has(rows, k, "auc") and k not in few]
    if not keys:
        return None
    figure, axes_of = panels(len(keys), 3.6, 3.2)
    for axes, key in zip(axes_of, keys):
        for row in rows:
            values, first = defined(row, key), row["name"].removesuffix(AGAIN)
            if not values:
                continue
            at = names.index(first if first in names else row["name"])
            colour, marker = COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]
            axes.errorbar(
                row["flops"], statistics.mean(values), yerr=deviation(values), fmt=marker,
                color=colour, capsize=2, label=row["name"],
                mfc="white" if row["name"].endswith(AGAIN) else colour,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda flops, _: short(round(flops)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("forward FLOPs an example", fontsize=9)
        style(axes, f"AUC {key}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", **LEGEND)
    return titled(figure, f"{name(found)}: test AUC by cost, mean ± standard deviation over seeds")


def heat(found: Mapping) -> Figure | None:
    """Mean AUC and its deviation over seeds, kinds of experts by routings."""
    rows = found["rows"]
    keys = [k for k in keys_of(found) if has(rows, k, "auc")]
    most = max(len(r["seeds"]) for r in rows)
    kinds, routings = (list(dict.fromkeys(r[what] for r in rows)) for what in ("at", "group"))
    figure, axes_of = panels(len(keys), 4.0, 0.8 + 0.55 * len(kinds))
    for axes, key in zip(axes_of, keys):
        values, texts = np.full((len(kinds), len(routings)), np.nan), {}
        digits = 5 if fine(rows, key) else 4
        for row in rows:
            known = defined(row, key)
            if known:
                at = kinds.index(row["at"]), routings.index(row["group"])
                values[at] = statistics.mean(known)
                texts[at] = spread(known, digits).replace(" ± ", "\n± ")
                if len(known) < most:
                    texts[at] += f"\n({counted(len(known), 'seed')})"
        axes.imshow(values, cmap="Blues", aspect="auto")
        middle = np.nanmean([np.nanmin(values), np.nanmax(values)])
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value > middle else "black"
            axes.text(
                j, i, texts.get((i, j), ""), ha="center", va="center", fontsize=8.5, color=colour
            )
        axes.set_xticks(range(len(routings)), routings, fontsize=9)
        axes.set_yticks(range(len(kinds)), kinds, fontsize=9)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(f"AUC {key}", fontsize=10.5, loc="left", fontweight="bold")
    return titled(figure, f"{name(found)}: test AUC, mean ± deviation, kinds in each routing")


def bands(found: Mapping) -> Figure | None:
    """AUC over each option's values, mean ± standard deviation over seeds; dashed: as tuned."""
    base = next((r for r in found["rows"] if not r["group"]), None)
    rows = [r for r in found["rows"] if r["group"]]
    keys = [k for k in keys_of(found) if has(rows, k, "auc")]
    axes_of = list(dict.fromkeys(r["group"] for r in rows))
    most = max(len(r["seeds"]) for r in found["rows"])
    figure = Figure(figsize=(3.3 * len(axes_of), 2.5 * len(keys)), layout="constrained")
    grid = figure.subplots(len(keys), len(axes_of), squeeze=False, sharey="row")
    for i, key in enumerate(keys):
        for j, option in enumerate(axes_of):
            axes = grid[i, j]
            own = [r for r in rows if r["group"] == option and defined(r, key)]
            at = np.arange(len(own))
            means = np.array([statistics.mean(defined(r, key)) for r in own])
            spreads = np.array([deviation(defined(r, key)) for r in own])
            axes.fill_between(at, means - spreads, means + spreads, color=COLOURS[0], alpha=0.2)
            axes.plot(at, means, "-", color=COLOURS[0])
            for place, row in enumerate(own):
                filled = COLOURS[0] if len(row["seeds"]) == most else "white"
                axes.plot(place, means[place], "o", color=COLOURS[0], mfc=filled, ms=4.5)
            alike = any(base and r["experts"] == base["experts"] for r in own)
            if alike and defined(base, key):
                level = statistics.mean(defined(base, key))
                axes.axhline(level, color=GREY, ls=LINES[1], lw=1)
            labels = [r["at"].replace("+", "+\n") for r in own]
            axes.set_xticks(at, labels, fontsize=8)
            axes.margins(x=0.15)
            style(axes, f"AUC {key}" if j == 0 else "")
            if i == len(keys) - 1:
                other = f"\n({own[0]['experts']})" if own and not alike else ""
                axes.set_xlabel(option + other, fontsize=9)
    note = "dashed: as tuned"
    if any(len(r["seeds"]) < most for r in rows):
        note += f"; hollow: fewer than {most} seeds"
    figure.text(0.99, 0.0, note, ha="right", va="top", **NOTE)
    title = f"{name(found)}: test AUC of {{ours}} at other sizes, mean ± standard deviation"
    title = with_ours(title, found)
    return titled(figure, title)


def titled(figure: Figure, text: str) -> Figure:
    figure.suptitle(text, fontsize=11, x=0.01, ha="left", fontweight="bold")
    return figure


def defined(row: Mapping, key: str) -> list[float]:
    return [v for v in row["metrics"][key].get("auc", ()) if v is not None]


def deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def style(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10.5, loc="left", fontweight="bold")
    axes.grid(True, **GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    if isinstance(axes.yaxis.get_major_formatter(), ScalarFormatter):
        axes.ticklabel_format(axis="y", useOffset=False)


Picture = Callable[[Mapping], Figure | None]
PICTURES: Mapping[str, Mapping[str, Picture]] = {
    "overall": {"differences": differences, "cost": cost},
    "ablation": {"differences": differences},
    "interactions": {"heat": heat, "differences": differences},
    "matched": {"differences": differences},
    "sensitivity": {"bands": bands},
    "divergence": {
        "gaps": gap_plots.gaps,
        "mean_gaps": gap_plots.mean_gaps,
        "differences": gap_plots.differences,
        "dials": gap_plots.dials,
    },
}
