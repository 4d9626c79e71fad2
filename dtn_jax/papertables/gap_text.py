"""The table `divergence` as text: gaps to the best AUC, and differences, over each dial."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from dtn_jax.metrics import METRICS
from dtn_jax.metrics.significance import holm
from dtn_jax.papertables.content import comparisons
from dtn_jax.papertables.differences import DUEL, SMALL, T_TEST, duel
from dtn_jax.papertables.draws import own_spaces
from dtn_jax.papertables.gaps import MEAN
from dtn_jax.papertables.numbers import (
    difference,
    interval,
    mark,
    p_value,
    seconds,
    short,
    spread,
    thousandths,
)
from dtn_jax.papertables.printed import Text, with_ours
from dtn_jax.papertables.seeds import strongest, within

FACTOR = 1000  # of gaps
LESS_OURS = "AUC less ours"  # the title of a table of differences begins so
BEST = (
    "Against the best of several rivals, the value is of the one with the highest AUC at that "
    "level. The interval's lower end is the lowest of all of them, since ours must be ahead of "
    "each; its upper end is widened for their number (Bonferroni), since the same runs chose the "
    "best."
)
SURE = (
    "A sentence says `ahead` or `behind` where the interval excludes 0 and p < 0.05; p has Holm's "
    "correction over the levels, the interval has not."
)
Row = Mapping
Cell = Callable[[Row], str]


def gap_texts(found: Mapping, title: str) -> list[Text]:
    """For each dial the mean of the tasks; for the first one each task too, in every space.

    Differences follow, and the models' sizes.
    """
    first, *others = dict.fromkeys(row["group"] for row in found["rows"])
    keys = [key for key in found["rows"][0]["metrics"] if key != MEAN]
    own = [key for key in own_spaces(keys) if key in found["tested_keys"]]
    main = gaps(found, first, MEAN)
    made = [dataclasses.replace(main, title=f"{title}. {main.title}, {found['dataset']}")]
    made += [gaps(found, first, key) for key in keys]
    made += [gaps(found, group, MEAN) for group in others]
    made += [gains(found)]
    made += [differences(found, first, key) for key in (MEAN, *own)]
    made += [differences(found, group, MEAN) for group in others]
    tasks = found["tested_keys"]
    made += [duels(found), metric_text(found, first, "logloss", tasks, MEAN)]
    # By task: the mean of one that is too high and one that is too low would look right.
    made += [metric_text(found, first, "predicted_observed", [key], key) for key in tasks]
    made += [sizes(found)]
    return [text for text in made if text]


def gaps(found: Mapping, group: str, key: str) -> Text:
    """Gaps × 1000; the smallest mean of a level is bold, below it stands the best AUC."""
    rows = [row for row in found["rows"] if row["group"] == group]
    sign = (lambda *_: "") if "shortened" in found else mark
    most = max(len(row["seeds"]) for row in rows)
    means = {
        row["name"]: statistics.mean(row["metrics"][key]["gap"])
        for row in rows
        if len(row["seeds"]) == most
    }
    least = {at: min((means[r["name"]] for r in own if r["name"] in means), default=None)
             for at, own in by_level(rows).items()}  # fmt: skip

    def cell(row: Row) -> str:
        text = spread([FACTOR * gap for gap in row["metrics"][key]["gap"]], 1)
        is_least = means.get(row["name"]) == least[row["at"]] and len(means) > len(least)
        return (f"**{text}**" if is_least else text) + sign(row, key)

    made = grid(f"Gap to the Bayes-optimal AUC × {FACTOR}, {key}, by {group}", rows, cell)
    best = {row["at"]: f"{row['best'][key]:.4f}" for row in rows}
    lines = (*made.rows, ("Bayes-optimal AUC", *best.values()))
    return dataclasses.replace(made, rows=lines, outside=1)


def differences(found: Mapping, group: str, key: str) -> Text | None:
    """AUC less ours at the same level; None where nothing is tested."""
    rows = [r for r in found["rows"] if r["group"] == group and key in r["comparison"]]
    if not rows:
        return None
    title = f"{LESS_OURS}, {key}, by {group}: difference × 1000, 95 % interval, Holm's p"
    made = grid(title, rows, lambda row: difference(row["comparison"][key]))
    alike = any(within(row["comparison"][key]) for row in rows)
    return dataclasses.replace(made, caption="", note=SMALL if alike else "")


def gains(found: Mapping) -> Text | None:
    """What the sentences are made from: ours less each, by level; None where nothing is said."""
    if not found.get("gains"):
        return None
    lines = []
    for against, own in found["gains"].items():
        sure = holm({gain["at"]: gain["p"] for gain in own})
        cells = (
            f"{thousandths(gain | {'difference': gain['value']})} {interval(gain)}, "
            f"p {p_value(sure[gain['at']])}"
            for gain in own
        )
        lines.append((against, *cells))
    levels = (f"{gain['at']} ({gain['truth']:.2f})" for gain in own)
    title = with_ours("{ours} less each", found)
    title += f": AUC × {FACTOR}, {MEAN}, 95 % interval, p, by {found['rows'][0]['group']}"
    several = any(gain["rival"] for own in found["gains"].values() for gain in own)
    note = f"{BEST} {SURE}" if several else SURE
    return Text(f"{title} (true divergence)", ("", *levels), tuple(lines), caption="", note=note)


def duels(found: Mapping) -> Text | None:
    """Ours less its strongest rival at each level of the first dial, by bootstrap and t-test."""
    if "shortened" in found:
        return None
    tests = [comparisons(row).get(MEAN) for row in found["rows"]]
    if any(test and "t" not in test for test in tests):
        return None  # a table that was made when there were no t-tests
    first = found["rows"][0]["group"]
    lines = []
    for at, rows in by_level(r for r in found["rows"] if r["group"] == first).items():
        names = {row["name"]: row["tuned_as"] for row in rows}
        rival, one = strongest({"ours": rows[0]["against"], "rows": rows}).get(MEAN, (None, None))
        if rival:
            lines.append((at, *duel(names[rival], one)))
    title = with_ours("{ours} less its strongest rival", found) + f": AUC, {MEAN}, by {first}"
    note = f"{with_ours(T_TEST, found)} {SMALL}"
    return Text(title, ("", *DUEL), tuple(lines), caption="", note=note) if lines else None


def metric_text(
    found: Mapping, group: str, metric: str, keys: Sequence[str], what: str
) -> Text | None:
    """A metric's mean of these tasks, by level; None where a run lacks it."""
    rows = [row for row in found["rows"] if row["group"] == group]
    if any(None in row["metrics"][key].get(metric, (None,)) for row in rows for key in keys):
        return None

    def cell(row: Row) -> str:
        values = zip(*(row["metrics"][key][metric] for key in keys))
        return spread([statistics.mean(of_tasks) for of_tasks in values])

    return grid(f"{METRICS[metric].title}, {what}, by {group}", rows, cell)


def grid(title: str, rows: Sequence[Row], cell: Cell) -> Text:
    """A line a model, a column a level; in brackets how far the tasks diverge in truth."""
    levels = by_level(rows)
    names = dict.fromkeys(row["tuned_as"] for row in rows)
    cells = {(row["tuned_as"], row["at"]): cell(row) for row in rows}
    header = (f"{at} ({own[0]['true_divergence']:.2f})" for at, own in levels.items())
    lines = tuple((f"`{n}`", *(cells.get((n, at), "") for at in levels)) for n in names)
    return Text(f"{title} (true divergence)", ("", *header), lines)


def by_level(rows: Iterable[Row]) -> dict[str, list[Row]]:
    levels: dict[str, list[Row]] = {}
    for row in rows:
        levels.setdefault(row["at"], []).append(row)
    return levels


def sizes(found: Mapping) -> Text:
    """A model's size, and how long its runs of the first dial took."""
    first = found["rows"][0]["group"]
    models: dict[str, list[Row]] = {}
    for row in found["rows"]:
        if row["group"] == first:
            models.setdefault(row["tuned_as"], []).append(row)
    lines = []
    for name, rows in models.items():
        one, took = rows[0], [s for row in rows for s in row["train_seconds"]]
        counts = (short(one[c]) for c in ("parameters", "table_parameters", "flops"))
        lines.append((f"`{name}`", f"`{one['experts']}`", *counts, seconds(took)))
    header = ("", "experts", "parameters", "in tables", "FLOPs", "train s")
    return Text("Sizes", header, tuple(lines), caption="")
