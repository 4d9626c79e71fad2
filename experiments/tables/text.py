"""A table's content as text: what stands in which cell of the printed tables."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from dtn_jax.metrics import METRICS

from .content import OPTIMAL, comparisons
from .draws import own_spaces
from .gap_text import gap_texts
from .numbers import difference, entropy, fine, mark, seconds, short, spread
from .printed import Text
from .protocol import OURS

WITH_THE_SAME = "{ours} with the same experts ({ours} itself: with mlp)"  # of `interactions`
SIZES = ("parameters", "in tables", "FLOPs", "train s")  # the last columns of the main table
CONSTANT = "a constant: test's base rate"  # a row of log losses
TITLES = {
    "overall": "All architectures",
    "ablation": "{Ours} without each of its parts",
    "interactions": "Every kind of expert in every routing",
    "matched": "All architectures at {Ours}'s size",
    "sensitivity": "{Ours} at other sizes",
    "divergence": "Where {Ours} helps",
}


def title_of(found: Mapping) -> str:
    """A table's title, without the data set's name."""
    title = with_ours(TITLES[found["table"]], found)
    return f"{title}, shortened" if "shortened" in found else title


def with_ours(text: str, found: Mapping) -> str:
    """A text with the name of the entry that the table is about: {ours} and, in prose, {Ours}."""
    ours = found.get("ours", OURS)
    return text.format(ours=ours, Ours="DTN" if ours == OURS else ours)


def texts(found: Mapping) -> list[Text]:
    """The printed tables of a table: AUC and size, differences, what else was measured."""
    if not found["rows"]:
        return []
    if found["table"] == "divergence":
        return gap_texts(found, title_of(found))
    others = [metric_text(found, metric) for metric in METRICS if metric != "auc"]
    return [t for t in (main_text(found), difference_text(found), share_text(found), *others) if t]


def main_text(found: Mapping) -> Text:
    """AUC with its marks, size, and what others published."""
    rows = shown(found)
    keys = [k for k in keys_of(found) if has(rows, k, "auc")]
    sign = (lambda *_: "") if "shortened" in found else mark
    columns = {"experts": [f"`{r['experts']}`" for r in rows]}
    columns |= {
        f"AUC {key}": [c + sign(r, key) for c, r in zip(metric_column(rows, key, "auc"), rows)]
        for key in keys
    }
    counts = ("parameters", "table_parameters", "flops")
    sizes = [[short(r[count]) for r in rows] for count in counts]
    sizes.append([seconds(r["train_seconds"]) for r in rows])
    columns |= dict(zip(SIZES, sizes, strict=True))
    columns |= published_columns(rows, found["published"])
    made = as_text(f"{title_of(found)}, {found['dataset']}", rows, columns, found["seeds"])
    empty = ("",) * (len(columns) - len(keys) - 1)
    references = []
    for name, reference in found["references"].items():
        aucs = (reference["test"].get(key) for key in keys)
        aucs = ("" if auc is None else f"{auc:.4f}" for auc in aucs)
        references.append((f"{name} ({reference['version']})", "", *aucs, *empty))
    return dataclasses.replace(made, rows=(*made.rows, *references), outside=len(references))


def published_text(found: Mapping) -> Text | None:
    """What others published, for where the main table has no room for it; None if nothing."""
    columns = published_columns(found["rows"], found["published"])
    if not columns or not found["rows"]:
        return None
    title = f"AUC as others published it, {found['dataset']}"
    made = as_text(title, found["rows"], columns)
    header = tuple(name.replace("published: ", "") for name in made.header)
    known = tuple(row for row in made.rows if any(row[1:]))
    return dataclasses.replace(made, header=header, rows=known, caption="")


def difference_text(found: Mapping) -> Text | None:
    """Differences from what each row is tested against; None where nothing is tested."""
    rows = [r for r in found["rows"] if comparisons(r)]
    keys = [k for k in own_spaces(keys_of(found)) if any(k in r["comparison"] for r in rows)]
    columns = {key: [difference(r["comparison"].get(key)) for r in rows] for key in keys}
    if not rows:
        return None
    title = f"AUC less that of {opponent(found)}: difference × 1000, 95 % interval, Holm's p"
    return dataclasses.replace(as_text(title, rows, columns), caption="")


def opponent(found: Mapping) -> str:
    """What rows are tested against."""
    if found["table"] == "divergence":
        return with_ours("{ours} at the same level", found)
    against = {r["against"] for r in found["rows"]}
    return against.pop() if len(against) == 1 else with_ours(WITH_THE_SAME, found)


def share_text(found: Mapping) -> Text | None:
    """How far each row is from 0.5 towards the best possible AUC; None where that is not known."""
    if OPTIMAL not in found["references"]:
        return None
    rows, best = shown(found), found["references"][OPTIMAL]["test"]
    columns = {
        key: [
            spread([100 * (v - 0.5) / (best[key] - 0.5) for v in r["metrics"][key]["auc"]], 1)
            for r in rows
        ]
        for key in keys_of(found)
        if key in best
    }
    return as_text("AUC: % of the way from 0.5 to the Bayes-optimal one", rows, columns)


def metric_text(found: Mapping, metric: str) -> Text | None:
    """A metric by task@space; None where it is nowhere defined."""
    rows = shown(found)
    keys = [k for k in keys_of(found) if has(rows, k, metric)]
    columns = {key: metric_column(rows, key, metric) for key in keys}
    if not keys:
        return None
    made = as_text(METRICS[metric].title, rows, columns)
    if metric != "logloss":
        return made
    known = (found["rates"].get(key) for key in keys)
    constant = (CONSTANT, *("" if rate is None else f"{entropy(rate):.4f}" for rate in known))
    return dataclasses.replace(made, rows=(*made.rows, constant), outside=1)


def as_text(
    title: str, rows: Sequence[Mapping], columns: Mapping[str, Sequence[str]], seeds: int = 0
) -> Text:
    """Rows are named, with their number of seeds where it is below `seeds`."""
    names = [
        f"`{r['name']}`"
        + (f" ({len(r['seeds'])} of {seeds} seeds)" if len(r["seeds"]) < seeds else "")
        for r in rows
    ]
    return Text(title, ("", *columns), tuple(zip(names, *columns.values(), strict=True)))


def shown(found: Mapping) -> list[Mapping]:
    """The rows without those that are other names of a row that is shown."""
    names = {r["name"] for r in found["rows"]}
    return [r for r in found["rows"] if r["same_as"] not in names]


def keys_of(found: Mapping) -> list[str]:
    """The task@space of the table, in order."""
    return list(found["rows"][0]["metrics"]) if found["rows"] else []


def has(rows: Sequence[Mapping], key: str, metric: str) -> bool:
    return any(v is not None for r in rows for v in r["metrics"][key].get(metric, ()))


def metric_column(rows: Sequence[Mapping], key: str, metric: str) -> list[str]:
    """Mean ± standard deviation over seeds; the best mean is bold, unless there are too few."""
    values = [[v for v in r["metrics"][key].get(metric, ()) if v is not None] for r in rows]
    means = [statistics.mean(v) if v else None for v in values]
    most = max(len(r["seeds"]) for r in rows)  # a row that lacks seeds is not compared yet
    compared = [m for m, r in zip(means, rows) if m is not None and len(r["seeds"]) == most]
    best = METRICS[metric].best(compared)
    if any(key in r["few"] for r in rows):
        best = None  # what so few examples rank highest means nothing
    digits = 5 if fine(rows, key, metric) else 4
    cells = [spread(v, digits) if v else "not defined" for v in values]
    bold = [len(rows) > 1 and m is not None and m == best for m in means]
    return [f"**{cell}**" if b else cell for cell, b in zip(cells, bold)]


def published_columns(rows: Sequence[Mapping], published: Sequence[Mapping]) -> dict[str, list]:
    """A column for each source and task."""
    columns = {}
    for source in published:
        tasks = dict.fromkeys(task for aucs in source["auc"].values() for task in aucs)
        for task in tasks:
            values = [source["auc"].get(r["name"], {}).get(task) for r in rows]
            cells = ["" if v is None else f"{v:.4f}" for v in values]
            columns[f"{task}, published: {source['source']}"] = cells
    return columns
