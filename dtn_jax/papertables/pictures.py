"""The pictures of tables, as PNG files."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping

from matplotlib.figure import Figure

from dtn_jax.papertables import grids
from dtn_jax.papertables.numbers import DIVERGENCE, MEAN, comparisons, first_dial, grouped, summary
from dtn_jax.report import pictures as drawn
from dtn_jax.report.pictures import COLOURS, clean, panels

DPI = 140
GREY = "#888888"
MARKERS = "osD^vPX*"  # as many as make, with 9 colours, 72 pairs
PER_ROW = 4  # panels side by side
MOST = 24  # models that a legend can tell apart
OTHERS = "other rows"
GAP = "gap to the best AUC × 1000 (lower is better)"
MLP, ALIKE = "baselines with MLP experts", "baselines with DTN's experts"
SAME = "_dtns_experts"  # the end of the names of baselines with our experts


def draw(table: Mapping, stem: pathlib.Path) -> list[pathlib.Path]:
    """Draws what suits the table; returns the files, `<stem>_<kind>.png`."""
    written = []
    every = (differences, *ALSO.get(table["table"], ()))
    for picture in every if len(table["rows"]) > 1 else ():
        path = stem.with_name(f"{stem.name}_{picture.__name__}.png")
        if figure := picture(table):
            drawn.save_small(figure, path, dpi=DPI)
            written.append(path)
    return written


def titled(table: Mapping, figure: Figure, text: str, below: str = "") -> Figure:
    name = f"{table['dataset']}, shortened" if "shortened" in table else table["dataset"]
    drawn.header(figure, grids.with_ours(f"{name}: {text}", table), below)
    return figure


def differences(table: Mapping) -> Figure | None:
    """Each row's AUC less that of what it is tested against, a panel a task; of `divergence` each
    model's less ours, the mean of tasks, a panel a level of the first dial."""
    if table["table"] == DIVERGENCE:
        first = [r for r in first_dial(table) if MEAN in comparisons(r)]
        every = [(f"{r['group']} = {r['at']}", r["tuned_as"], comparisons(r)[MEAN]) for r in first]
    else:
        pairs = [(row["name"], comparisons(row)) for row in table["rows"]]
        keys = dict.fromkeys(key for _, of in pairs for key in of)
        every = [(key, name, of[key]) for key in keys for name, of in pairs if key in of]
    if not every:
        return None

    def line(panel: str, name: str, test: Mapping) -> dict:
        low, middle, high = (1000 * test[end] for end in ("low", "difference", "high"))
        sure = test["p_holm"] < grids.LEVEL and "shortened" not in table
        ink = COLOURS[0 if middle > 0 else 1] if sure else GREY
        inside = "white" if grids.is_alike(test) else ink
        place = {"panel": panel, "line": name, "value": middle, "low": low, "high": high}
        return place | {"ink": ink, "inside": inside}

    figure = drawn.small_multiples([line(*one) for one in every], wide=True)
    coloured = f"Coloured: p < {grids.LEVEL} after Holm's correction."
    note = grids.SHORT if "shortened" in table else coloured
    note += " Hollow: smaller than twice the seeds' sd."
    text = f"AUC less that of {grids.opponent(table)}, × 1000, 95 % interval"
    return titled(table, figure, text, note)


def cost(table: Mapping) -> Figure | None:
    """AUC against forward FLOPs."""
    few = {key for row in table["rows"] for key in row["few"]}
    keys = [key for key in grids.keys_with(table["rows"], "auc") if key not in few]
    text = f"test AUC by cost, {grids.over(table['seeds'])}"
    every = {f"AUC {key}": by_flops(table, key) for key in keys}
    note = "Grey: in each panel another row is higher, for no more FLOPs."
    note = note if len(table["rows"]) > MOST else ""
    return titled(table, points(every), text, note) if every else None


def costs(tables: Mapping[str, Mapping]) -> Figure:
    """The mean AUC of the tasks against forward FLOPs, a panel a set."""
    figure = points({title: by_flops(table, MEAN) for title, table in tables.items()})
    drawn.header(figure, "mean test AUC of the tasks by cost, mean ± deviation of all runs")
    return figure


def by_flops(table: Mapping, key: str) -> dict[str, tuple]:
    """{row: its FLOPs, the mean of its AUC and its standard deviation or None}"""
    flops = {row["name"]: row["flops"] for row in table["rows"]}
    values = {n: of for (n, *place), of in summary(table).items() if place == [key, "auc"]}
    return {name: (flops[name], *of[:2]) for name, of in values.items() if name in flops}


def points(every: Mapping[str, Mapping[str, tuple]]) -> Figure:
    """A panel a title, and in it a point a model, with its deviation over seeds; of many models,
    those that another one beats in each panel, for no more FLOPs, are grey."""
    names = list(dict.fromkeys(name for models in every.values() for name in models))
    if len(names) > MOST:
        names = list(dict.fromkeys(name for models in every.values() for name in front(models)))
    figure, axes_of = panels(len(every), PER_ROW, (4.2, 3.4))
    handles = {}
    for axes, (title, models) in zip(axes_of, every.items()):
        for name, (flops, mean, sd) in models.items():
            look, label = {"color": GREY, "marker": ".", "zorder": 1}, OTHERS
            if name in names:
                at, label = names.index(name), name
                look = {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
            handles[label] = axes.errorbar(flops, mean, yerr=sd or 0, ls="", capsize=2, **look)
        clean(axes, title)
        axes.tick_params(labelsize=8.5)
        axes.set_xlabel("forward FLOPs per example", fontsize=9)
        axes.set_xscale("log")
        drawn.powers(axes.xaxis)
        axes.xaxis.set_major_formatter(lambda flops, _: grids.short(round(flops)))
        axes.ticklabel_format(axis="y", useOffset=False)
    if len(names) > 1:
        look = {"fontsize": 8, "frameon": False, "loc": "outside right center"}
        shown = [name for name in (*names, OTHERS) if name in handles]
        figure.legend([handles[name] for name in shown], shown, **look)
    return figure


def front(models: Mapping[str, tuple]) -> list[str]:
    """Those that no other one beats for no more FLOPs, the cheapest first."""
    best, leading = -math.inf, []
    for name, (_, mean, _) in sorted(models.items(), key=lambda one: (one[1][0], -one[1][1])):
        if mean > best:
            best, leading = mean, [*leading, name]
    return leading


def mean_gaps(table: Mapping) -> Figure:
    """Gaps of the mean of tasks over the first dial: baselines with MLP experts, and beside them
    those with our experts, where there are any."""
    first, of, our = first_dial(table), summary(table), grids.with_ours("{ours}", table)
    lines: dict[str, dict[str, list]] = {}
    for row in first:
        alike, ours = row["tuned_as"].endswith(SAME), row["tuned_as"].startswith(our)
        mean, sd = (1000 * (value or 0) for value in of[row["name"], MEAN, "gap"][:2])
        point = [float(row["at"]), mean, mean - sd, mean + sd]
        for title in [MLP] * (not alike) + [ALIKE] * (alike or ours):
            name = row["tuned_as"].removesuffix(SAME)
            lines.setdefault(title, {}).setdefault(name, []).append(point)
    figure, every = drawn.curves(lines, 2, (4.2, 3.4))
    levels = grouped(first, "at")
    ticks = [f"{at}\n({rows[0]['true_divergence']:.2f})" for at, rows in levels.items()]
    for axes in every.values():  # one model far from the others would press them together
        axes.set_yscale("log")
        drawn.powers(axes.yaxis, (1, 2, 3, 5))
        axes.set_xticks([*map(float, levels)], ticks)
        axes.set_xlabel("")
    ends = [axes.get_ylim() for axes in every.values()]
    for axes in every.values():  # side by side, heights are compared
        axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
    below = f"By {first[0]['group']}; in brackets the true divergence of the tasks."
    return titled(table, figure, GAP, below)


ALSO = {"overall": (cost,), DIVERGENCE: (mean_gaps,)}
