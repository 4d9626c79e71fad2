"""The pictures of tables, as PNG files."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

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
      title, x: what is shown, and over what: forward FLOPs, unless there are ticks.
      lines: {name: (place, mean, standard deviation or None) of each point}.
      ticks: at the places 0, 1, … of gaps.
    """

    title: str
    x: str
    lines: dict[str, list[tuple[float, float, float | None]]]
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


def cost(table: Mapping) -> Figure | None:
    """AUC against forward FLOPs."""
    few = {key for row in table["rows"] for key in row["few"]}
    keys = [key for key in grids.keys_with(table["rows"], "auc") if key not in few]
    every = [by_flops(f"AUC {key}", table, key) for key in keys]
    text = f"test AUC by cost, {grids.over(table['seeds'])}"
    return titled(table, curves(every), text) if every else None


def costs(tables: Mapping[str, Mapping]) -> Figure:
    """The mean AUC of the tasks against forward FLOPs, a panel a set."""
    figure = curves([by_flops(title, table, MEAN) for title, table in tables.items()])
    drawn.header(figure, "mean test AUC of the tasks by cost, mean ± deviation of all runs")
    return figure


def by_flops(title: str, table: Mapping, key: str) -> Panel:
    rows, of = table["rows"], summary(table)
    values = {row["name"]: of.get((row["name"], key, "auc")) for row in rows}
    lines = {row["name"]: [(row["flops"], *v[:2])] for row in rows if (v := values[row["name"]])}
    return Panel(title, "forward FLOPs per example", lines)


def gaps(table: Mapping) -> Figure | None:
    """Gaps over the first dial: the mean of tasks and each task; baselines with MLP experts, and
    those with our experts below."""
    keys = [MEAN, *table["tested_keys"]]
    sets = [(f"{key}\n{whose}", rows, key) for whose, rows in sides(table) for key in keys]
    return titled(table, curves([of_dial(table, *one) for one in sets], len(keys)), GAP)


def mean_gaps(table: Mapping) -> Figure | None:
    """Gaps of the mean of tasks over the first dial, baselines with our experts at the right."""
    every = [of_dial(table, f"{MEAN}\n{whose}", rows, MEAN) for whose, rows in sides(table)]
    return titled(table, curves(every), GAP)


def dials(table: Mapping) -> Figure | None:
    """Gaps of the mean of tasks over the other dials."""
    _, *others = grouped(table["rows"], "group").items()
    every = [of_dial(table, group, rows, MEAN) for group, rows in others]
    return titled(table, curves(every), GAP) if every else None


def sides(table: Mapping) -> list[tuple[str, list[Mapping]]]:
    """(what is shown, rows): baselines with MLP experts, then those with ours, beside our own."""
    rows, ours = first_dial(table), grids.with_ours("{ours}", table)
    alike = [row for row in rows if row["tuned_as"].endswith(SAME)]
    plain = [row for row in rows if row not in alike]
    beside = [row for row in plain if row["tuned_as"].startswith(ours)] + alike
    both = [("baselines with MLP experts", plain), ("baselines with DTN's experts", beside)]
    return both if alike else both[:1]


def of_dial(table: Mapping, title: str, rows: Sequence[Mapping], key: str) -> Panel:
    levels, of = grouped(rows, "at"), summary(table)
    places = {at: place for place, at in enumerate(levels)}
    ticks = [f"{at}\n({of_level[0]['true_divergence']:.2f})" for at, of_level in levels.items()]
    lines: dict[str, list] = {}
    for row in rows:
        mean, sd, _ = of[row["name"], key, "gap"]
        point = (places[row["at"]], 1000 * mean, 1000 * (sd or 0))
        lines.setdefault(row["tuned_as"].removesuffix(SAME), []).append(point)
    x = f"{rows[0]['group']} (true divergence of the tasks)"
    return Panel(title, x, lines, ticks)


def curves(every: Sequence[Panel], columns: int = PER_ROW) -> Figure:
    """A line a model, mean ± standard deviation over seeds; what was tuned again is hollow. Gaps
    whose titles begin alike have one scale."""
    names = list(dict.fromkeys(name for panel in every for name in panel.lines))
    figure, axes_of = panels(len(every), columns, (4.2, 3.4))
    handles, first_of = {}, {}
    for axes, panel in zip(axes_of, every):
        for name, points in panel.lines.items():
            first = name.removesuffix(AGAIN)
            at = names.index(first if first in names else name)
            colour, (x, mean, sd) = COLOURS[at % len(COLOURS)], zip(*points)
            look = {"color": colour, "mfc": colour if first == name else "white", "ms": 5}
            look |= {"marker": MARKERS[at % len(MARKERS)], "capsize": 2, "lw": 1.3}
            style, spread = LINES[at // len(COLOURS) % len(LINES)], [one or 0 for one in sd]
            handles[name] = axes.errorbar(x, mean, yerr=spread, ls=style, **look)
        clean(axes, panel.title)
        axes.tick_params(labelsize=8.5)
        axes.set_xlabel(panel.x, fontsize=9)
        if panel.ticks:  # one model far from the others would press them together
            axes.set_xticks(range(len(panel.ticks)), panel.ticks)
            axes.set_yscale("log")
            drawn.powers(axes.yaxis, (1, 2, 3, 5))
            first = first_of.setdefault(panel.title.partition("\n")[0], axes)
            if first is not axes:
                axes.sharey(first)
                axes.autoscale(axis="y")
        else:
            axes.set_xscale("log")
            drawn.powers(axes.xaxis)
            axes.xaxis.set_major_formatter(lambda flops, _: grids.short(round(flops)))
            axes.ticklabel_format(axis="y", useOffset=False)
    if len(names) > 1:
        look = {"fontsize": 8, "frameon": False, "loc": "outside right center"}
        figure.legend(handles.values(), handles, **look)
    return figure


Picture = Callable[[Mapping], Figure | None]
PICTURES: Mapping[str, tuple[Picture, ...]] = {  # `<table>_<function>.png`
    "overall": (differences, cost),
    "ablation": (differences,),
    "interactions": (differences,),
    "matched": (differences,),
    "sensitivity": (differences,),
    "divergence": (gaps, mean_gaps, differences, dials),
}
