"""The pictures of tables, as PNG files."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from dtn_jax.comparison.pages import GREY, Interval, intervals
from dtn_jax.papertables import grids
from dtn_jax.papertables.numbers import MEAN, comparisons, first_dial, grouped, summary
from dtn_jax.papertables.protocol import AGAIN
from dtn_jax.report.pictures import COLOURS, LINES, cells, clean, header, panels, save_small

DPI = 140
MARKERS = "osD^vPX*"  # as many as make, with 9 colours, 72 pairs
PER_ROW = 4  # panels side by side
GAP = "gap to the best AUC × 1000 (lower is better)"
SAME = "_dtns_experts"  # the end of the names of rivals with our experts


@dataclasses.dataclass
class Panel:
    """Lines of values over something.

    Attributes:
      title, x: what is shown, and over what.
      key, metric: of the values.
      lines: {name: (place, row) of each point}.
      ticks: at the places 0, 1, …; none where x is a number.
      level: of a dashed line.
    """

    title: str
    x: str
    key: str
    metric: str
    lines: dict[str, list[tuple[float, str]]]
    ticks: Sequence[str] = ()
    level: float | None = None


def draw(made: Mapping, stem: pathlib.Path) -> list[pathlib.Path]:
    """Draws what suits the table; returns the files, `<stem>_<kind>.png`.

    What an earlier state of the table had and this one has not is deleted.
    """
    written = []
    for kind, picture in PICTURES[made["table"]].items():
        path = stem.with_name(f"{stem.name}_{kind}.png")
        path.unlink(missing_ok=True)
        if len(made["rows"]) < 2 or (figure := picture(made)) is None:
            continue
        save_small(figure, path, dpi=DPI)
        written.append(path)
    return written


def titled(made: Mapping, figure: Figure, text: str, below: str = "") -> Figure:
    name = f"{made['dataset']}, shortened" if "shortened" in made else made["dataset"]
    header(figure, grids.with_ours(f"{name}: {text}", made), below)
    return figure


def differences(made: Mapping) -> Figure | None:
    """Each row's AUC less that of what it is tested against, a panel a task; of `divergence` each
    model's less ours, the mean of tasks, a panel a level of the first dial."""
    rows = [row for row in made["rows"] if comparisons(row)]
    keys = [key for key in grids.keys_with(rows, "auc") if any(key in comparisons(r) for r in rows)]
    tests = {key: {row["name"]: comparisons(row).get(key) for row in rows} for key in keys}
    if MEAN in keys:
        tests = {
            f"{own[0]['group']} = {at}": {r["tuned_as"]: comparisons(r).get(MEAN) for r in own}
            for at, own in grouped(first_dial(made), "at").items()
        }
    names = list(dict.fromkeys(name for own in tests.values() for name in own))
    if not names:
        return None

    def line(test: Mapping) -> Interval:
        sure = test["p_holm"] < grids.LEVEL and "shortened" not in made
        colour = COLOURS[0 if test["difference"] > 0 else 1] if sure else GREY
        numbers = (1000 * test[name] for name in ("low", "difference", "high"))
        return Interval(*numbers, colour, not grids.is_alike(test))

    figure, every = panels(len(tests), len(tests), (4.0, 0.8 + 0.3 * len(names)), sharey=True)
    for axes, (title, own) in zip(every, tests.items()):
        lines = {name: line(own[name]) if own.get(name) else None for name in names}
        intervals(axes, title, lines)
        axes.set_xlabel("AUC difference × 1000", fontsize=9)
    coloured = f"Coloured: p < {grids.LEVEL} after Holm's correction."
    note = grids.SHORT if "shortened" in made else coloured
    note += " Hollow: smaller than twice the seeds' sd."
    return titled(made, figure, f"AUC less that of {grids.opponent(made)}, 95 % interval", note)


def heat(made: Mapping) -> Figure | None:
    """Mean AUC and its deviation over seeds, kinds of experts by routings."""
    rows, of = made["rows"], summary(made)
    keys = grids.keys_with(rows, "auc")
    kinds, routings = (list(grouped(rows, what)) for what in ("at", "group"))
    figure, every = panels(len(keys), PER_ROW, (5.0, 0.8 + 0.55 * len(kinds)))
    for axes, key in zip(every, keys):
        values = np.full((len(kinds), len(routings)), np.nan)
        texts = [[""] * len(routings) for _ in kinds]
        digits = grids.digits_of(of, rows, key, "auc")
        for row in rows:
            if found := of.get((row["name"], key, "auc")):
                i, j = kinds.index(row["at"]), routings.index(row["group"])
                values[i, j] = found[0]
                lacks = f"\n({found[2]} of {made['seeds']})" * (found[2] < made["seeds"])
                texts[i][j] = grids.spread(*found[:2], digits).replace(" ± ", "\n± ") + lacks
        clean(axes, f"AUC {key}")
        middle = np.nanmean([np.nanmin(values), np.nanmax(values)])
        cells(axes, values, texts, routings, kinds, dark=middle, cmap="Blues")
        axes.grid(False)
    return titled(made, figure, "test AUC, mean ± deviation, kinds in each routing")


def cost(made: Mapping) -> Figure | None:
    """AUC against forward FLOPs."""
    few = {key for row in made["rows"] for key in row["few"]}
    keys = [key for key in grids.keys_with(made["rows"], "auc") if key not in few]
    lines = {row["name"]: [(row["flops"], row["name"])] for row in made["rows"]}
    every = [Panel(f"AUC {key}", "forward FLOPs an example", key, "auc", lines) for key in keys]
    return curves(made, every, f"test AUC by cost, {grids.over(made['seeds'])}")


def sizes(made: Mapping) -> Figure | None:
    """AUC over each option's values; dashed: as tuned."""
    of, (base, *_) = summary(made), made["rows"]
    every, groups = [], grouped(made["rows"][1:], "group")
    for key in grids.keys_with(made["rows"], "auc"):
        for option, own in groups.items():
            alike = any(row["experts"] == base["experts"] for row in own)
            level = of.get((base["name"], key, "auc")) if alike else None
            x = option if alike else f"{option}\n({own[0]['experts']})"
            line = {"": [(at, row["name"]) for at, row in enumerate(own)]}
            ticks = [row["at"].replace("+", "+\n") for row in own]
            every.append(Panel(f"AUC {key}", x, key, "auc", line, ticks, level and level[0]))
    text = "test AUC of {ours} at other sizes, mean ± standard deviation; dashed: as tuned"
    return curves(made, every, text, len(groups))


def gaps(made: Mapping) -> Figure | None:
    """Gaps over the first dial: the mean of tasks and each task; rivals with MLP experts, and
    those with our experts below."""
    keys = [MEAN, *made["tested_keys"]]
    every = [of_dial(f"{key}\n{whose}", rows, key) for whose, rows in sides(made) for key in keys]
    return curves(made, every, GAP, len(keys))


def mean_gaps(made: Mapping) -> Figure | None:
    """Gaps of the mean of tasks over the first dial, rivals with our experts at the right."""
    return curves(made, [of_dial(whose, rows, MEAN) for whose, rows in sides(made)], GAP)


def dials(made: Mapping) -> Figure | None:
    """Gaps of the mean of tasks over the other dials."""
    _, *others = grouped(made["rows"], "group").items()
    return curves(made, [of_dial(group, rows, MEAN) for group, rows in others], GAP)


def sides(made: Mapping) -> list[tuple[str, list[Mapping]]]:
    """(what is shown, rows): rivals with MLP experts, then those with ours, beside our own."""
    rows, ours = first_dial(made), grids.with_ours("{ours}", made)
    alike = [row for row in rows if row["tuned_as"].endswith(SAME)]
    plain = [row for row in rows if row not in alike]
    beside = [row for row in plain if row["tuned_as"].startswith(ours)] + alike
    found = [("rivals with MLP experts", plain), ("rivals with DTN's experts", beside)]
    return found if alike else found[:1]


def of_dial(title: str, rows: Sequence[Mapping], key: str) -> Panel:
    levels = grouped(rows, "at")
    places = {at: place for place, at in enumerate(levels)}
    ticks = [f"{at}\n({own[0]['true_divergence']:.2f})" for at, own in levels.items()]
    lines: dict[str, list] = {}
    for row in rows:
        model = row["tuned_as"].removesuffix(SAME)
        lines.setdefault(model, []).append((places[row["at"]], row["name"]))
    x = f"{rows[0]['group']} (true divergence of the tasks)"
    return Panel(title, x, key, "gap", lines, ticks)


def curves(
    made: Mapping, every: Sequence[Panel], text: str, columns: int = PER_ROW
) -> Figure | None:
    """A line a model, mean ± standard deviation over seeds; what was tuned again is hollow."""
    if not every:
        return None
    of, names = summary(made), list(dict.fromkeys(name for p in every for name in p.lines))
    figure, axes_of = panels(len(every), columns, (4.2, 3.4))
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
        if panel.level:
            axes.axhline(panel.level, color=GREY, ls=LINES[1], lw=1)
        if panel.ticks:
            axes.set_xticks(range(len(panel.ticks)), panel.ticks)
        else:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda flops, _: grids.short(round(flops)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        if panel.metric == "gap":  # one model far from the others would press them together
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.ticklabel_format(axis="y", useOffset=False)
    if len(names) > 1:
        handles = axes_of[0].get_legend_handles_labels()
        figure.legend(*handles, fontsize=8, frameon=False, loc="outside right center")
    return titled(made, figure, text)


Picture = Callable[[Mapping], Figure | None]
PICTURES: Mapping[str, Mapping[str, Picture]] = {
    "overall": {"differences": differences, "cost": cost},
    "ablation": {"differences": differences},
    "interactions": {"heat": heat, "differences": differences},
    "matched": {"differences": differences},
    "sensitivity": {"sizes": sizes},
    "divergence": {"gaps": gaps, "mean_gaps": mean_gaps, "differences": differences}
    | {"dials": dials},
}
