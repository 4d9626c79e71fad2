"""A table's content as text: what stands in which cell of the printed tables.

Printed are the metrics of PRINTED, those that an option asks for, and those that regressions alone
have; the others are in the CSV file, and folded in report.html.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from dtn_jax.metrics import METRICS
from dtn_jax.papertables.content import OPTIMAL
from dtn_jax.papertables.differences import difference_text, rival_text
from dtn_jax.papertables.gap_text import gap_texts
from dtn_jax.papertables.numbers import entropy, fine, mark, seconds, short, spread
from dtn_jax.papertables.printed import Text, as_text, has, keys_of, shown, with_ours

PRINTED = ("auc", "gauc", "logloss", "predicted_observed")  # metrics of binary tasks

SIZES = ("parameters", "in tables", "FLOPs", "train s")  # the last columns of the main table
CONSTANT = "a constant: test's base rate"  # a row of log losses
TITLES = {
    "overall": "All architectures",
    "ablation": "{Ours} without its parts, and with its options",
    "interactions": "Every kind of expert in every routing",
    "matched": "All architectures at {Ours}'s size",
    "sensitivity": "{Ours} at other sizes",
    "divergence": "When {Ours} helps",
}


def title_of(found: Mapping) -> str:
    """A table's title, without the data set's name."""
    title = with_ours(TITLES[found["table"]], found)
    return f"{title}, shortened" if "shortened" in found else title


def texts(found: Mapping) -> list[Text]:
    """The printed tables of a table: AUC and size, differences, what else matters."""
    if not found["rows"]:
        return []
    if found["table"] == "divergence":
        return gap_texts(found, title_of(found))
    made = [main_text(found), difference_text(found), rival_text(found), share_text(found)]
    made += [metric_text(found, name) for name in METRICS if name != "auc" and printed(name)]
    return [text for text in made if text]


def other_texts(found: Mapping) -> list[Text]:
    """A table for each metric that is not printed."""
    made = [metric_text(found, name) for name in METRICS if not printed(name)]
    return [text for text in made if text]


def printed(metric: str) -> bool:
    known = METRICS[metric]
    return metric in PRINTED or known.asked or "binary" not in known.kinds


def main_text(found: Mapping, mark: Callable[[Mapping, str], str] = mark) -> Text:
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
    references = [
        (name, "", *values, *empty) for name, *values in reference_rows(found, keys, "auc")
    ]
    return dataclasses.replace(made, rows=(*made.rows, *references), outside=len(references))


def reference_rows(found: Mapping, keys: Sequence[str], metric: str) -> list[tuple[str, ...]]:
    """The models from outside that have a metric, each with its values by task@space."""
    rows = []
    for name, reference in found["references"].items():
        values = [measured(reference, key).get(metric) for key in keys]
        if any(value is not None for value in values):
            cells = ("" if value is None else f"{value:.4f}" for value in values)
            rows.append((f"{name} ({reference['version']})", *cells))
    return rows


def measured(reference: Mapping, key: str) -> Mapping[str, float]:
    """The metrics of a model from outside; what is only known by its AUC has that alone."""
    known = reference["test"].get(key) or {}
    return known if isinstance(known, Mapping) else {"auc": known}


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
    outside = reference_rows(found, keys, metric)
    if metric == "logloss":
        known = (found["rates"].get(key) for key in keys)
        constant = ("" if rate is None else f"{entropy(rate):.4f}" for rate in known)
        outside.append((CONSTANT, *constant))
    return dataclasses.replace(made, rows=(*made.rows, *outside), outside=len(outside))


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
