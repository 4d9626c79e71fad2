"""The pictures of tables, as PNG files."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtn_jax.papertables import grids
from dtn_jax.papertables.numbers import DIVERGENCE, MEAN, comparisons, first_dial, grouped, summary
from dtn_jax.papertables.protocol import AGAIN
from dtn_jax.report import pictures as drawn
from dtn_jax.report.pictures import COLOURS, LINES, clean, panels

DPI = 140
GREY = "#888888"
MARKERS = "osD^vPX*"  # as many as make, with 9 colours, 72 pairs
PER_ROW = 4  # panels side by side
GAP = "gap to the best AUC × 1000 (lower is better)"
SAME = "_dtns_experts"  # the end of the names of baselines with our experts


class Panel(NamedTuple):
    """Lines of values over something.

    Attributes:
      title, x: what is shown, and over what.
      key, metric: of the values.
      lines: {name: (place, row) of each point}.
      ticks: at the places 0, 1, …; none where x is a number.
    """

    title: str
    x: str
    key: str
    metric: str
    lines: dict[str, list[tuple[float, str]]]
    ticks: Sequence[str] = ()


def draw(table: Mapping, stem: pathlib.Path) -> list[pathlib.Path]:
    """Draws what suits the table; returns the files, `<stem>_<kind>.png`."""
    written = []
    for picture in PICTURES[table["table"]] if len(table["rows"]) > 1 else ():
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
    rows = [row for row in table["rows"] if comparisons(row)]
    keys = [key for key in grids.keys_with(rows, "auc") if any(key in comparisons(r) for r in rows)]
    tests = {key: {row["name"]: comparisons(row).get(key) for row in rows} for key in keys}
    if table["table"] == DIVERGENCE and MEAN in keys:
        tests = {
            f"{level[0]['group']} = {at}": {r["tuned_as"]: comparisons(r).get(MEAN) for r in level}
            for at, level in grouped(first_dial(table), "at").items()
        }
    names = list(dict.fromkeys(name for of in tests.values() for name in of))
    if not names:
        return None
    figure, every = panels(len(tests), len(tests), (4.0, 0.8 + 0.3 * len(names)), sharey=True)
    for axes, (title, of) in zip(every, tests.items()):
        for at, test in enumerate(map(of.get, names)):
            if test:
                low, middle, high = (1000 * test[name] for name in ("low", "difference", "high"))
                sure = test["p_holm"] < grids.LEVEL and "shortened" not in table
                colour = COLOURS[0 if middle > 0 else 1] if sure else GREY
                axes.plot([low, high], [at, at], color=colour, lw=2)
                inner = "white" if grids.is_alike(test) else colour
                axes.plot(middle, at, "o", color=colour, mfc=inner, ms=5)
        axes.axvline(0, color="black", lw=0.8)
        clean(axes, title)
        drawn.named_lines(axes, names)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("AUC difference × 1000", fontsize=9)
    coloured = f"Coloured: p < {grids.LEVEL} after Holm's correction."
    note = grids.SHORT if "shortened" in table else coloured
    note += " Hollow: smaller than twice the seeds' sd."
    return titled(table, figure, f"AUC less that of {grids.opponent(table)}, 95 % interval", note)


def heat(table: Mapping) -> Figure | None:
    """Mean AUC and its deviation over seeds, kinds of experts by routings."""
    rows, of = table["rows"], summary(table)
    keys = grids.keys_with(rows, "auc")
    kinds, routings = (list(grouped(rows, what)) for what in ("at", "group"))
    figure, every = panels(len(keys), PER_ROW, (5.0, 0.8 + 0.55 * len(kinds)))
    for axes, key in zip(every, keys):
        values = np.full((len(kinds), len(routings)), np.nan)
        texts = [[""] * len(routings) for _ in kinds]
        digits = grids.digits_of(of, rows, key, "auc")
        for row in rows:
            if value := of.get((row["name"], key, "auc")):
                i, j = kinds.index(row["at"]), routings.index(row["group"])
                values[i, j] = value[0]
                lacks = f"\n({value[2]} of {table['seeds']})" * (value[2] < table["seeds"])
                texts[i][j] = grids.spread(*value[:2], digits).replace(" ± ", "\n± ") + lacks
        clean(axes, f"AUC {key}")
        drawn.heat_map(axes, values, texts, routings, kinds)
        axes.grid(False)
    return titled(table, figure, "test AUC, mean ± deviation, kinds in each routing")


def cost(table: Mapping) -> Figure | None:
    """AUC against forward FLOPs."""
    few = {key for row in table["rows"] for key in row["few"]}
    keys = [key for key in grids.keys_with(table["rows"], "auc") if key not in few]
    lines = {row["name"]: [(row["flops"], row["name"])] for row in table["rows"]}
    every = [Panel(f"AUC {key}", "forward FLOPs per example", key, "auc", lines) for key in keys]
    return curves(table, every, f"test AUC by cost, {grids.over(table['seeds'])}")


def costs(tables: Mapping[str, Mapping]) -> Figure:
    """The mean AUC of the tasks against forward FLOPs, a panel a set."""
    names = list(dict.fromkeys(row["name"] for table in tables.values() for row in table["rows"]))
    figure, axes_of = panels(len(tables), PER_ROW, (4.2, 3.4))
    for axes, (title, table) in zip(axes_of, tables.items()):
        of = summary(table)
        for row in table["rows"]:
            mean, sd, _ = of[row["name"], MEAN, "auc"]
            at = names.index(row["name"])
            look = {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
            axes.errorbar(
                row["flops"], mean, yerr=sd or 0, label=row["name"], ms=5, capsize=2, ls="", **look
            )
        clean(axes, title)
        axes.set_xlabel("forward FLOPs per example", fontsize=9)
        flops_axis(axes)
    handles = {
        name: handle for axes in axes_of for handle, name in zip(*axes.get_legend_handles_labels())
    }
    figure.legend(handles.values(), handles, fontsize=8, frameon=False, loc="outside right center")
    drawn.header(figure, "mean test AUC of the tasks by cost, mean ± deviation of all runs")
    return figure


def flops_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    drawn.powers(axes.xaxis)
    axes.xaxis.set_major_formatter(lambda flops, _: grids.short(round(flops)))
    axes.ticklabel_format(axis="y", useOffset=False)


def gaps(table: Mapping) -> Figure | None:
    """Gaps over the first dial: the mean of tasks and each task; rivals with MLP experts, and
    those with our experts below."""
    keys = [MEAN, *table["tested_keys"]]
    every = [of_dial(f"{key}\n{whose}", rows, key) for whose, rows in sides(table) for key in keys]
    return curves(table, every, GAP, len(keys))


def mean_gaps(table: Mapping) -> Figure | None:
    """Gaps of the mean of tasks over the first dial, baselines with our experts at the right."""
    return curves(table, [of_dial(whose, rows, MEAN) for whose, rows in sides(table)], GAP)


def dials(table: Mapping) -> Figure | None:
    """Gaps of the mean of tasks over the other dials."""
    _, *others = grouped(table["rows"], "group").items()
    return curves(table, [of_dial(group, rows, MEAN) for group, rows in others], GAP)


def sides(table: Mapping) -> list[tuple[str, list[Mapping]]]:
    """(what is shown, rows): baselines with MLP experts, then those with ours, beside our own."""
    rows, ours = first_dial(table), grids.with_ours("{ours}", table)
    alike = [row for row in rows if row["tuned_as"].endswith(SAME)]
    plain = [row for row in rows if row not in alike]
    beside = [row for row in plain if row["tuned_as"].startswith(ours)] + alike
    both = [("baselines with MLP experts", plain), ("baselines with DTN's experts", beside)]
    return both if alike else both[:1]


def of_dial(title: str, rows: Sequence[Mapping], key: str) -> Panel:
    levels = grouped(rows, "at")
    places = {at: place for place, at in enumerate(levels)}
    ticks = [f"{at}\n({of_level[0]['true_divergence']:.2f})" for at, of_level in levels.items()]
    lines: dict[str, list] = {}
    for row in rows:
        model = row["tuned_as"].removesuffix(SAME)
        lines.setdefault(model, []).append((places[row["at"]], row["name"]))
    x = f"{rows[0]['group']} (true divergence of the tasks)"
    return Panel(title, x, key, "gap", lines, ticks)


def curves(
    table: Mapping, every: Sequence[Panel], text: str, columns: int = PER_ROW
) -> Figure | None:
    """A line a model, mean ± standard deviation over seeds; what was tuned again is hollow."""
    if not every:
        return None
    of, names = summary(table), list(dict.fromkeys(name for p in every for name in p.lines))
    figure, axes_of = panels(len(every), columns, (4.2, 3.4))
    first_of: dict[str, Axes] = {}  # panels of one thing have one scale
    for axes, panel in zip(axes_of, every):
        factor = 1000 if panel.metric == "gap" else 1
        for name, points in panel.lines.items():
            values = [of.get((row, panel.key, panel.metric)) for _, row in points]
            known = [(x, *value) for (x, _), value in zip(points, values) if value]
            first = name.removesuffix(AGAIN)
            at = names.index(first if first in names else name)
            colour = COLOURS[at % len(COLOURS)]
            axes.errorbar(
                [x for x, *_ in known], [factor * mean for _, mean, *_ in known],
                yerr=[factor * (sd or 0) for _, _, sd, _ in known],
                color=colour, mfc=colour if first == name else "white", label=name,
                marker=MARKERS[at % len(MARKERS)], ms=5, capsize=2, lw=1.3,
                ls=LINES[at // len(COLOURS) % len(LINES)],
            )  # fmt: skip
        clean(axes, panel.title)
        axes.tick_params(labelsize=8.5)
        axes.set_xlabel(panel.x, fontsize=9)
        if panel.ticks:
            axes.set_xticks(range(len(panel.ticks)), panel.ticks)
        else:
            flops_axis(axes)
        if (other := first_of.setdefault(panel.key, axes)) is not axes:
            axes.sharey(other)
            axes.autoscale(axis="y")
        if panel.metric == "gap":  # one model far from the others would press them together
            axes.set_yscale("log")
            drawn.powers(axes.yaxis, (1, 2, 3, 5))
        else:
            axes.ticklabel_format(axis="y", useOffset=False)
    if len(names) > 1:
        handles = axes_of[0].get_legend_handles_labels()
        figure.legend(*handles, fontsize=8, frameon=False, loc="outside right center")
    return titled(table, figure, text)


Picture = Callable[[Mapping], Figure | None]
PICTURES: Mapping[str, tuple[Picture, ...]] = {  # `<table>_<function>.png`
    "overall": (differences, cost),
    "ablation": (differences,),
    "interactions": (heat, differences),
    "matched": (differences,),
    "sensitivity": (differences,),
    "divergence": (gaps, mean_gaps, differences, dials),
}
