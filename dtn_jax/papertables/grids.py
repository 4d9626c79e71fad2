"""A table's content as it is printed: which text stands in which cell, and the notes below.

Printed are AUC and cost, differences, the metrics of PRINTED, those that an option asks for, and
those that regressions alone have; the CSV file has all.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from dtn_jax.comparison.differences import LEVEL
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.paired import FEWEST
from dtn_jax.papertables.numbers import (
    DIVERGENCE,
    MEAN,
    comparisons,
    delta_m,
    grouped,
    listed,
    measured,
    own_spaces,
    summary,
)
from dtn_jax.papertables.protocol import AGAIN, OURS
from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import rendered

PRINTED = ("auc", "gauc", "logloss", "predicted_observed")  # metrics of binary tasks
SIZES = ("parameters", "in tables", "FLOPs", "train s")  # the last columns of the main table
DELTA = "Δm %"  # a column of the main table
CONSTANT = "a constant: test's base rate"  # a row of log losses
RIVAL = "its rival"  # where rows have different ones; the table of differences names them
ALIKE = "≈"  # before a difference that is smaller than twice the seeds' standard deviation
FINE = 5e-5  # a spread, of most rows, that 4 digits would hide
TITLES = {
    "overall": "All architectures",
    "ablation": "{Ours} without its parts, and with its options",
    "interactions": "Every kind of expert in every routing",
    "matched": "All architectures at {Ours}'s size",
    "sensitivity": "{Ours} at other sizes",
    "divergence": "When {Ours} helps",
}
SHORT = (
    "No sign says which difference is significant: after so short a training one model is above "
    "another because it learns faster, which full training may undo."
)
SMALL = (
    f"{ALIKE}: smaller than twice the seeds' standard deviation, pooled: 2 √((s² + q²)/2), with s "
    "and q those of the two rows' AUCs over seeds. Of two single runs, the lower row's is then the "
    "better one in more than 7 % of cases, even where the difference of means is significant."
)
Row = Mapping
Mark = Callable[[Row, str], str]  # of a row and a task@space


def with_ours(text: str, table: Mapping) -> str:
    """A text with the name of the entry that the table is about: {ours} and, in prose, {Ours}."""
    ours = table.get("ours", OURS)
    return text.format(ours=ours, Ours="DTN" if ours == OURS else ours)


def title_of(table: Mapping) -> str:
    """A table's title, without the data set's name."""
    title = with_ours(TITLES[table["table"]], table)
    return f"{title}, shortened" if "shortened" in table else title


def opponent(table: Mapping) -> str:
    """What rows are tested against."""
    if table["table"] == DIVERGENCE:
        return with_ours("{ours} at the same level", table)
    against = {row["against"] for row in table["rows"]}
    return against.pop() if len(against) == 1 else RIVAL


def grids(table: Mapping) -> list[Grid]:
    """The printed tables of a table, the main one first."""
    if not table["rows"]:
        return []
    if table["table"] == DIVERGENCE:
        return gap_grids(table)
    every = [main_grid(table), difference_grid(table)]
    every += [metric_grid(table, name) for name in METRICS if name != "auc" and is_printed(name)]
    return [grid for grid in every if grid]


def is_printed(metric: str) -> bool:
    known = METRICS[metric]
    return metric in PRINTED or "binary" not in known.kinds


def shown(table: Mapping) -> list[Row]:
    """The rows without those that are other names of a row that is shown."""
    names = {row["name"] for row in table["rows"]}
    return [row for row in table["rows"] if row["same_as"] not in names]


def keys_with(rows: Sequence[Row], metric: str) -> list[str]:
    """The task@space in which some row has a metric, in order."""
    return [
        key
        for key in (rows[0]["metrics"] if rows else ())
        if any(v is not None for row in rows for v in row["metrics"][key].get(metric, ()))
    ]


def named(table: Mapping, row: Row) -> str:
    """A row's name, with its number of seeds where some are missing."""
    whole = table["seeds"] * searches(table, row)
    lacks = len(row["seeds"]) < whole
    return f"`{row['name']}`" + f" ({len(row['seeds'])} of {whole} seeds)" * lacks


def searches(table: Mapping, row: Row) -> int:
    """How many independent searches found a row's settings."""
    return table.get("searches", {}).get(row["name"], 1)


# ---------------------------------------------------------------- cells


def mark(row: Row, key: str) -> str:
    """↓ and ↑: significantly below and above what the row is tested against."""
    test = comparisons(row).get(key)
    if not test or test["p_holm"] >= LEVEL:
        return ""
    return " ↑" if test["difference"] > 0 else " ↓"


def marks(row: Row, key: str) -> str:
    """That mark, and ≈ where the difference is smaller than twice the seeds' deviation."""
    test = comparisons(row).get(key)
    return mark(row, key) + (f" {ALIKE}" if test and is_alike(test) else "")


def is_alike(test: Mapping) -> bool:
    """Whether a difference is smaller than twice the seeds' standard deviation."""
    return abs(test["difference"]) < test.get("two_sd", 0.0)


def spread(mean: float, sd: float | None, digits: int = 4) -> str:
    """'0.9251 ± 0.0005'; one more digit of a deviation that these would hide."""
    if sd is None:
        return f"{mean:.{digits}f}"
    hidden = 0.05 * 10**-digits < sd < 0.5 * 10**-digits
    return f"{mean:.{digits}f} ± {sd:.{digits + hidden}f}"


def p_value(p: float, least: bool = False) -> str:
    """'= 0.046'; `least`: the draws can tell no lower one."""
    return "< 0.001" if p < 0.001 else f"{'≤' if least else '='} {p:.3f}"


def difference(test: Mapping | str | None) -> str:
    """'−1.24 [−2.21, −0.30], p = 0.221', in thousandths."""
    if not isinstance(test, Mapping):
        return test or ""
    alike = f"{ALIKE} " if is_alike(test) else ""
    value, low, high = (f"{1000 * test[n]:+.2f}" for n in ("difference", "low", "high"))
    p = p_value(test["p_holm"], test["p"] <= test.get("least", 0))
    return f"{alike}{value} [{low}, {high}], p {p}".replace("-", "−")


def seconds(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    median = statistics.median(known or [0.0])
    return f"{median:.{0 if median >= 9.95 else 1}f}" if known else ""


def short(number: int) -> str:
    """1234567 as '1.23 M'."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return str(number)


def column(table: Mapping, of: Mapping, key: str, metric: str) -> list[str]:
    """Mean ± standard deviation of each row; the best mean is bold, unless there are too few."""
    rows = shown(table)
    seeds = [len(row["seeds"]) / searches(table, row) for row in rows]
    most = max(seeds)  # a row that lacks seeds is not compared yet
    values = [of.get((row["name"], key, metric)) for row in rows]
    whole = [f[0] for f, count in zip(values, seeds) if f and count == most]
    few = any(key in row["few"] for row in rows)  # what so few rank highest means nothing
    best = None if few or len(rows) < 2 else METRICS[metric].best(whole)
    deviations = [sd for _, sd, _ in filter(None, values) if sd is not None]
    digits = 5 if deviations and statistics.median(deviations) < FINE else 4
    cells = [spread(*f[:2], digits) if f else "not defined" for f in values]
    return [f"**{cell}**" if f and f[0] == best else cell for cell, f in zip(cells, values)]


# ---------------------------------------------------------------- tables


def pivot(
    title: str,
    names: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    outside: Sequence[Sequence[str]] = (),
    tests: Iterable[Mapping | str] = (),
) -> Grid:
    """A table of named lines.

    Args:
      columns: {header: a cell a name}.
      outside: lines that are no runs of ours, below a rule.
      tests: the comparisons that it shows, which may need a note.
    """
    lines = [*zip(names, *columns.values(), strict=True), *outside]
    note = SMALL if any(is_alike(test) for test in tests if isinstance(test, Mapping)) else ""
    rules = [len(names)] if outside else []
    return Grid(["", *columns], lines, title, note, rules=rules, marked=True)


def main_grid(table: Mapping, mark: Mark = mark) -> Grid:
    """AUC with its marks, size, and what others published."""
    rows, of = shown(table), summary(table)
    keys = keys_with(rows, "auc")
    sign: Mark = (lambda *_: "") if "shortened" in table else mark
    columns = {"experts": [f"`{row['experts']}`" for row in rows]}
    for key in keys:
        cells = column(table, of, key, "auc")
        columns[f"AUC {key}"] = [cell + sign(row, key) for cell, row in zip(cells, rows)]
    if "delta_m" in table:
        changes = [delta_m(table, row) for row in rows]
        columns[DELTA] = ["" if c is None else f"{c:+.2f}".replace("-", "−") for c in changes]
    columns |= dict(zip(SIZES, zip(*map(sizes_of, rows))))
    for source in table["published"]:
        tasks = dict.fromkeys(task for aucs in source["auc"].values() for task in aucs)
        for task in tasks:
            aucs = [source["auc"].get(row["name"], {}).get(task) for row in rows]
            cells = ["" if auc is None else f"{auc:.4f}" for auc in aucs]
            columns[f"{task}, published: {source['source']}"] = cells
    empty = [""] * (len(columns) - len(keys) - 1)
    outside = [(name, "", *aucs, *empty) for name, *aucs in outside_rows(table, keys, "auc")]
    title = f"{title_of(table)}, {table['dataset']}"
    return pivot(title, [named(table, row) for row in rows], columns, outside)


def sizes_of(row: Row) -> tuple[str, ...]:
    counts = (short(row[count]) for count in ("parameters", "table_parameters", "flops"))
    return (*counts, seconds(row["train_seconds"]))


def difference_grid(table: Mapping) -> Grid | None:
    """Differences from what each row is tested against; None where nothing is tested."""
    rows = [row for row in table["rows"] if comparisons(row)]
    if not rows:
        return None
    keys = [k for k in own_spaces(rows[0]["metrics"]) if any(k in r["comparison"] for r in rows)]
    columns = {key: [difference(row["comparison"].get(key)) for row in rows] for key in keys}
    if opponent(table) == RIVAL:
        columns = {"rival": [f"`{row['against']}`" for row in rows]} | columns
    title = f"AUC less that of {opponent(table)}: difference × 1000, 95 % interval, Holm's p"
    tests = [test for row in rows for test in row["comparison"].values()]
    return pivot(title, [named(table, row) for row in rows], columns, tests=tests)


def metric_grid(table: Mapping, metric: str) -> Grid | None:
    """A metric by task@space; None where it is nowhere defined."""
    rows, of = shown(table), summary(table)
    keys = keys_with(rows, metric)
    if not keys:
        return None
    columns = {key: column(table, of, key, metric) for key in keys}
    outside = outside_rows(table, keys, metric)
    if metric == "logloss":
        rates = (table["rates"].get(key) for key in keys)
        outside.append((CONSTANT, *("" if rate is None else entropy(rate) for rate in rates)))
    return pivot(METRICS[metric].title, [named(table, row) for row in rows], columns, outside)


def entropy(rate: float) -> str:
    """The log loss of a constant score on examples with this share of positives, at best."""
    return f"{sum(-p * math.log(p) for p in (rate, 1 - rate) if 0 < p < 1):.4f}"


def outside_rows(table: Mapping, keys: Sequence[str], metric: str) -> list[tuple[str, ...]]:
    """The models from outside that have a metric, each with its values by task@space."""
    rows = []
    for name, reference in table["references"].items():
        values = [measured(reference, key).get(metric) for key in keys]
        if any(value is not None for value in values):
            cells = ("" if value is None else f"{value:.4f}" for value in values)
            rows.append((f"{name} ({reference['version']})", *cells))
    return rows


# ---------------------------------------------------------------- the table `divergence`


def gap_grids(table: Mapping) -> list[Grid]:
    """For each dial the mean of the tasks; for the first one each task too, in every space.

    Differences follow, and the models' sizes.
    """
    first, *others = (rows for rows in grouped(table["rows"], "group").values())
    keys, of = [key for key in table["rows"][0]["metrics"] if key != MEAN], summary(table)
    grids = [gap_grid(table, of, first, key) for key in (MEAN, *keys)]
    grids += [gap_grid(table, of, rows, MEAN) for rows in others]
    grids += [level_differences(first, key) for key in (MEAN, *table["tested_keys"])]
    grids += [level_differences(rows, MEAN) for rows in others]
    models = grouped(first, "tuned_as")
    timed = {n: [s for row in runs for s in row["train_seconds"]] for n, runs in models.items()}
    sizes = [sizes_of(runs[0] | {"train_seconds": timed[n]}) for n, runs in models.items()]
    columns = {"experts": [f"`{runs[0]['experts']}`" for runs in models.values()]}
    columns |= dict(zip(SIZES, zip(*sizes)))
    grids.append(pivot("Sizes", [f"`{name}`" for name in models], columns))
    title = f"{title_of(table)}. {grids[0].title}, {table['dataset']}"
    return [dataclasses.replace(grids[0], title=title), *filter(None, grids[1:])]


def gap_grid(table: Mapping, of: Mapping, rows: Sequence[Row], key: str) -> Grid:
    """Gaps × 1000; the smallest mean of a level is bold, below it stands the best AUC."""
    most = max(len(row["seeds"]) for row in rows)
    means = {r["name"]: of[r["name"], key, "gap"][0] for r in rows if len(r["seeds"]) == most}
    levels = grouped(rows, "at")
    least = {
        at: min((means[r["name"]] for r in of_level if r["name"] in means), default=None)
        for at, of_level in levels.items()
    }

    def cell(row: Row) -> str:
        mean, sd, _ = of[row["name"], key, "gap"]
        text = spread(1000 * mean, None if sd is None else 1000 * sd, 1)
        is_least = means.get(row["name"]) == least[row["at"]] and len(means) > len(least)
        sign = "" if "shortened" in table else mark(row, key)
        return (f"**{text}**" if is_least else text) + sign

    title = f"Gap to the Bayes-optimal AUC × 1000, {key}, by {rows[0]['group']}"
    best = [f"{of_level[0]['best'][key]:.4f}" for of_level in levels.values()]
    return by_level(title, rows, cell, [("Bayes-optimal AUC", *best)])


def level_differences(rows: Sequence[Row], key: str) -> Grid | None:
    """AUC less ours at the same level; None where nothing is tested."""
    rows = [row for row in rows if key in row["comparison"]]
    if not rows:
        return None
    group = rows[0]["group"]
    title = f"AUC less ours, {key}, by {group}: difference × 1000, 95 % interval, Holm's p"
    tests = [row["comparison"][key] for row in rows]
    return by_level(title, rows, lambda row: difference(row["comparison"][key]), tests=tests)


def by_level(title: str, rows: Sequence[Row], cell: Callable[[Row], str], *more, **how) -> Grid:
    """A line a model, a column a level; in brackets how far the tasks diverge in truth."""
    cells = {(row["tuned_as"], row["at"]): cell(row) for row in rows}
    names = dict.fromkeys(row["tuned_as"] for row in rows)
    columns = {
        f"{at} ({level[0]['true_divergence']:.2f})": [cells.get((name, at), "") for name in names]
        for at, level in grouped(rows, "at").items()
    }
    names = [f"`{name}`" for name in names]
    return pivot(f"{title} (true divergence)", names, columns, *more, **how)


# ---------------------------------------------------------------- notes


def footnotes(table: Mapping) -> list[str]:
    """Where the numbers come from, and what the signs mean."""
    rows, tunings = table["rows"], table["tuning"]
    return rendered(
        pathlib.Path(__file__).with_name("notes.md.jinja"),
        **dict(table)
        | {
            "gaps": table["table"] == DIVERGENCE,
            "ours": with_ours("{ours}", table),
            "Ours": with_ours("{Ours}", table),
            "over": over(table["seeds"]) + over_searches(table),
            "counted": counted,
            "cost": transfer_cost(table),
            "opponent": opponent(table),
            "again": AGAIN.strip(", ") if any(r["name"].endswith(AGAIN) for r in rows) else "",
            "few_groups": any(row.get("few_groups") for row in rows),
            "regressions": keys_with(rows, "rmse"),
            "least": least(table),
            "edges": listed((option, n) for n, of in tunings.items() for option in of["at_edge"]),
            "outside": listed((of.get("note", ""), n) for n, of in table["references"].items()),
            "SHORT": SHORT,
            "LEVEL": LEVEL,
            "FEWEST": FEWEST,
        },
    )


def over(seeds: int) -> str:
    """What a number is over its seeds."""
    return f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "of one seed"


def over_searches(table: Mapping) -> str:
    """How many searches these seeds are of."""
    rows = listed((count, name) for name, count in table.get("searches", {}).items())
    if not rows:
        return ""
    most, *others = sorted(rows, reverse=True)
    fewer = "".join(f"; of {', '.join(rows[count])}: {count}" for count in others)
    return f" for each of {counted(most, 'independent search')}{fewer},"


def counted(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("h") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def least(table: Mapping) -> list[float]:
    """The lowest p of each comparison, of the family in which they add up to the most."""
    of_gaps = table["table"] == DIVERGENCE
    families = listed(
        (of_gaps and (row["group"], row["at"]), test["least"])
        for row in table["rows"]
        for key, test in comparisons(row).items()
        if key != MEAN
    )
    return max(families.values(), key=sum, default=[])


def transfer_cost(table: Mapping) -> float:
    """What trying settings of others cost an entry, at most, in runs; 0 without a transfer."""
    kept = [tuning for tuning in table["tuning"].values() if "transfer" in tuning]
    return max((tuning["transfer"]["examples"] / tuning["run"] for tuning in kept), default=0.0)
