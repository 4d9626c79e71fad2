"""A table's content as text: printed tables, Markdown, CSV; LaTeX is made in table_latex.py."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping, Sequence

from experiments.table_content import OPTIMAL, TOO_FEW

LEVEL = 0.05  # of significance
FINE = 5e-5  # a spread that 4 digits would hide
NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "logloss": "log loss",
    "ece": "calibration error (ECE)",
    "rmse": "RMSE",
    "r2": "R²",
}
LOWEST_IS_BEST = ("logloss", "ece", "rmse")
TITLES = {
    "overall": "All architectures",
    "ablation": "DTN without each of its parts",
    "interactions": "Every kind of expert in every routing",
    "matched": "All architectures at DTN's size",
    "sensitivity": "DTN at other sizes",
}


@dataclasses.dataclass(frozen=True)
class Text:
    """A printed table: the first column names the rows; **bold** cells are marked so."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = "Mean ± standard deviation over seeds."  # where it is printed alone


def texts(found: Mapping) -> list[Text]:
    """The printed tables of a table: AUC and size, differences, what else was measured."""
    if not found["rows"]:
        return []
    others = [metric_text(found, metric) for metric in NAMES if metric != "auc"]
    return [t for t in (main_text(found), difference_text(found), share_text(found), *others) if t]


def main_text(found: Mapping) -> Text:
    """AUC with its marks, size, and what others published."""
    rows = found["rows"]
    keys = [k for k in keys_of(found) if has(rows, k, "auc")]
    columns = {"experts": [f"`{r['experts']}`" for r in rows]}
    columns |= {
        f"AUC {key}": [c + mark(r, key) for c, r in zip(metric_column(rows, key, "auc"), rows)]
        for key in keys
    }
    columns |= {
        "parameters": [short(r["parameters"]) for r in rows],
        "FLOPs": [short(r["flops"]) for r in rows],
        "train s": [seconds(r["train_seconds"]) for r in rows],
    }
    columns |= published_columns(rows, found["published"])
    made = as_text(f"{TITLES[found['table']]}, {found['dataset']}", rows, columns, found["seeds"])
    empty = ("",) * (len(columns) - len(keys) - 1)
    references = []
    for name, reference in found["references"].items():
        aucs = (reference["test"].get(key) for key in keys)
        aucs = ("" if auc is None else f"{auc:.4f}" for auc in aucs)
        references.append((f"{name} ({reference['version']})", "", *aucs, *empty))
    return dataclasses.replace(made, rows=(*made.rows, *references))


def difference_text(found: Mapping) -> Text | None:
    """Differences from what each row is tested against; None where nothing is tested."""
    rows = [r for r in found["rows"] if r["comparison"]]
    keys = [k for k in keys_of(found) if any(k in r["comparison"] for r in rows)]
    columns = {key: [difference(r["comparison"].get(key)) for r in rows] for key in keys}
    if not rows:
        return None
    title = f"AUC less that of {opponent(found)}: difference × 1000, 95 % interval, Holm's p"
    return dataclasses.replace(as_text(title, rows, columns), caption="")


def opponent(found: Mapping) -> str:
    """What rows are tested against."""
    against = {r["against"] for r in found["rows"]}
    return against.pop() if len(against) == 1 else "dtn with the same experts"


def share_text(found: Mapping) -> Text | None:
    """How far each row is from 0.5 towards the best possible AUC; None where that is not known."""
    if OPTIMAL not in found["references"]:
        return None
    rows, best = found["rows"], found["references"][OPTIMAL]["test"]
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
    rows = found["rows"]
    keys = [k for k in keys_of(found) if has(rows, k, metric)]
    columns = {key: metric_column(rows, key, metric) for key in keys}
    return as_text(NAMES[metric], rows, columns) if keys else None


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


def keys_of(found: Mapping) -> list[str]:
    """The task@space of the table, in order."""
    return list(found["rows"][0]["metrics"]) if found["rows"] else []


def has(rows: Sequence[Mapping], key: str, metric: str) -> bool:
    return any(v is not None for r in rows for v in r["metrics"][key].get(metric, ()))


def metric_column(rows: Sequence[Mapping], key: str, metric: str) -> list[str]:
    """Mean ± standard deviation over seeds; the best mean is bold."""
    values = [[v for v in r["metrics"][key][metric] if v is not None] for r in rows]
    means = [statistics.mean(v) if v else None for v in values]
    best = (min if metric in LOWEST_IS_BEST else max)(m for m in means if m is not None)
    deviations = [statistics.stdev(v) for v in values if len(v) > 1]
    digits = 5 if deviations and statistics.median(deviations) < FINE else 4
    cells = [spread(v, digits) if v else "not defined" for v in values]
    bold = [len(rows) > 1 and m == best for m in means]
    return [f"**{cell}**" if b else cell for cell, b in zip(cells, bold)]


def spread(values: Sequence[float], digits: int = 4) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def mark(row: Mapping, key: str) -> str:
    """↓ and ↑: significantly below and above what the row is tested against."""
    found = row["comparison"].get(key)
    if found in (None, TOO_FEW) or found["p_holm"] >= LEVEL:
        return ""
    return " ↑" if found["difference"] > 0 else " ↓"


def difference(found: Mapping | str | None) -> str:
    if found is None or found == TOO_FEW:
        return found or ""
    low, high = 1000 * found["low"], 1000 * found["high"]
    sign = "≤" if found["p"] <= found["least"] else "="
    p = "p < 0.001" if found["p_holm"] < 0.001 else f"p {sign} {found['p_holm']:.3f}"
    text = f"{1000 * found['difference']:+.2f} [{low:+.2f}, {high:+.2f}], {p}"
    return text.replace("-", "−")


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


def seconds(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{statistics.median(known):.0f}" if known else ""


def short(number: int) -> str:
    """1234567 as '1.23 M'."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return str(number)


SETTINGS = {
    "overall": "each row tuned by",
    "ablation": "all rows have those of dtn, tuned by",
    "interactions": "each row has those of its routing in `overall` (PLE one level here, so that "
    "all have as many experts), tuned by",
    "matched": "each row has those of its architecture in `overall`, tuned by",
    "sensitivity": "all rows have those of dtn, tuned by",
}


def counted(seeds: int) -> str:
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def powerless(found: Mapping) -> list[str]:
    """Says so where there are too many comparisons for the draws to tell any."""
    tests = [c for r in found["rows"] for c in r["comparison"].values() if c != TOO_FEW]
    least = len(tests) * max((c["least"] for c in tests), default=0.0)
    if least < LEVEL:
        return []
    return [
        f"{len(tests)} comparisons: after Holm's correction the draws tell no p below {least:.2f}, "
        "so there are no signs."
    ]


def footnotes(found: Mapping) -> list[str]:
    """How the numbers came about, and what the signs mean."""
    tuned = f"{found['trials']} trials on validation"
    if found["tuned_with"]:
        tuned += " (" + ", ".join(f"{k}={v}" for k, v in found["tuned_with"].items()) + ")"
    tested = f" on {' and '.join(found['tested'])}" if found["tested"] else ""
    notes = [
        f"AUC on the test split, mean ± standard deviation over {counted(found['seeds'])} that "
        f"tuned nothing; bold: the highest mean. Settings: {SETTINGS[found['table']]} {tuned} of "
        f"one space. {found['note']}".rstrip(),
        f"↓ ↑: below or above {opponent(found)}{tested} at p < {LEVEL}, each task in the space of "
        "its loss (hierarchical bootstrap over seeds and test examples, Holm-corrected over the "
        "table; the one tuning that there was is taken as given); too few: below 100 of a class.",
        "Parameters without embedding tables; forward FLOPs of one example; train s: seconds of "
        "training, median over seeds, on a machine that may have had other work.",
    ]
    notes += powerless(found)
    edges: dict[str, list[str]] = {}
    for name, kept in found["tuning"].items():
        for option in kept["at_edge"]:
            edges.setdefault(option, []).append(name)
    notes += [
        f"At the edge of its range: `{o}` of {', '.join(names)}." for o, names in edges.items()
    ]
    notes += [f"Published, {p['source']}: {p['note']}." for p in found["published"]]
    if found["missing"]:
        count = sum(found["missing"].values())
        notes.append(f"Not finished, runs still missing: {count} ({', '.join(found['missing'])}).")
    dates = found["cell_dates"] or [found["date"]]
    dates = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    where = f"{', '.join(found['versions'])}; {'; '.join(found['devices'])}"
    versions = f"; {len(found['code'])} versions of the code" if len(found["code"]) > 1 else ""
    notes.append(f"`{found['command']}`; runs of {dates}; {where}{versions}.")
    return notes


def markdown(found: Mapping, pictures: Sequence[str] = ()) -> str:
    """The tables, the names of PNG files beside them as pictures, and the notes."""
    parts = [f"# {TITLES[found['table']]}: {found['dataset']}\n"]
    for i, text in enumerate(texts(found)):
        parts.append((f"## {text.title}\n\n" if i else "") + markdown_table(text))
    parts += [f"![{name.removesuffix('.png')}]({name})\n" for name in pictures]
    return "\n".join(parts) + "\n" + "".join(f"- {note}\n" for note in footnotes(found))


def markdown_table(text: Text) -> str:
    lines = [text.header, ["---", *["---:"] * (len(text.header) - 1)], *text.rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def csv_text(found: Mapping) -> str:
    """A line per row, task@space and metric; numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    compared = ("difference", "low", "high", "p", "p_holm")
    labels = ("table", "row", "group", "at", "task@space", "metric", "mean", "sd", "seeds")
    sizes = ("parameters", "flops_per_example", "train_seconds")
    writer.writerow([*labels, "against", *compared, *sizes])
    for row in found["rows"]:
        timed = [v for v in row["train_seconds"] if v is not None]
        size = (row["parameters"], row["flops"], statistics.median(timed) if timed else "")
        for key, metrics in row["metrics"].items():
            for metric, values in metrics.items():
                known = [v for v in values if v is not None]
                mean = statistics.mean(known) if known else ""
                deviation = statistics.stdev(known) if len(known) > 1 else ""
                test = row["comparison"].get(key) if metric == "auc" else None
                tested = (
                    [test[c] for c in compared]
                    if test and test != TOO_FEW
                    else [test or "", *[""] * 4]
                )
                against = row["against"] if test else ""
                named = (found["table"], row["name"], row["group"], row["at"], key, metric)
                writer.writerow([*named, mean, deviation, len(known), against, *tested, *size])
    return out.getvalue()
