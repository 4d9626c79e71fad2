"""Two tables row by row, as text."""

from __future__ import annotations

from collections.abc import Mapping

from dtn_jax.metrics import METRICS
from dtn_jax.report.markdown import prose

from .content import NOT_TESTED, TOO_FEW, comparisons
from .differences import difference_text
from .markdown import markdown_table
from .numbers import fine, spread
from .paired import PRINTED
from .printed import Text, as_text, keys_of

HOW = (
    "Each row's mean test AUC over seeds, less that of the row of the same name in `{beside}`'s "
    "table. Both are of the same {examples:,} test rows; each task is tested in the space of its "
    "loss (hierarchical bootstrap over seeds and test examples, Holm-corrected over this table). "
    "Each table has settings of its own, and the p-values do not cover how they were found."
)


def page(found: Mapping, picture: str) -> str:
    """The differences as Markdown, the name of a picture beside it, and how they were found."""
    parts = [f"# {prose(found['dataset'])} beside {prose(found['beside'])}: {found['table']}\n"]
    for text in texts(found):
        parts += [f"## {prose(text.title)}\n", markdown_table(text)]
        parts += [f"{prose(text.note)}\n"] if text.note else []
    parts += [f"![differences]({picture})\n"] if picture else []
    return "\n".join(parts) + "\n" + "".join(f"- {note}\n" for note in told(found))


def texts(found: Mapping) -> list[Text]:
    """The differences, and the metrics of both; nothing where nothing is compared."""
    metrics = [metric_text(found, metric) for metric in PRINTED]
    return [text for text in (difference_text(found), *metrics) if text]


def metric_text(found: Mapping, metric: str) -> Text | None:
    """Both tables' values of a metric, for tasks that are compared; None where no row has it."""
    rows = [r for r in found["rows"] if comparisons(r)]
    columns = {}
    for key in [k for k in keys_of(found) if any(k in comparisons(r) for r in rows)]:
        own = [r["metrics"][key].get(metric, ()) for r in rows]
        other = [found["beside_metrics"][r["name"]][key].get(metric, ()) for r in rows]
        known = [[v for v in values if v is not None] for values in (*own, *other)]
        if not any(known):
            continue
        digits = 5 if fine(rows, key, metric) else 4
        cells = [spread(v, digits) if v else "not defined" for v in known]
        columns[f"{key}, {found['dataset']}"] = cells[: len(rows)]
        columns[f"{key}, {found['beside']}"] = cells[len(rows) :]
    title = f"{METRICS[metric].title}, mean ± standard deviation over seeds"
    return as_text(title, rows, columns) if columns else None


def told(found: Mapping) -> list[str]:
    """How the differences were found, and of which rows or tasks there are none."""
    first, second = found["dataset"], found["beside"]
    notes = [HOW.format(**found), f"Seeds: {found['seeds'][0]} and {found['seeds'][1]}."]
    if fewer := [text for r in found["rows"] if (text := fewer_seeds(r, found))]:
        notes.append(f"Fewer have finished of {'; '.join(fewer)}.")
    if found["unfinished"]:
        notes.append(f"Without finished runs in one or both tables: {listed(found['unfinished'])}.")
    for name, other in ((first, second), (second, first)):
        if alone := found["without_like"][name]:
            notes.append(f"In `{name}`'s table, but not in `{other}`'s: {listed(alone)}.")
    marks = {c for r in found["rows"] for c in r["comparison"].values() if isinstance(c, str)}
    if NOT_TESTED in marks:
        notes.append(
            f"{NOT_TESTED}: `{first}` limits its tests to {' and '.join(found['tested'])}."
        )
    if TOO_FEW in marks:
        notes.append(f"{TOO_FEW}: fewer than 100 examples of a class.")
    dates = " to ".join(dict.fromkeys((found["cell_dates"][0], found["cell_dates"][-1])))
    return [*notes, f"`{command(found)}`; runs of {dates}."]


def fewer_seeds(row: Mapping, found: Mapping) -> str:
    """A row's numbers of seeds, where they are not those of the protocols."""
    counts = [len(row["seeds"]), found["beside_seeds"][row["name"]]]
    return "" if counts == found["seeds"] else f"`{row['name']}`: {counts[0]} and {counts[1]}"


def listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def command(found: Mapping) -> str:
    """What makes this page again, without the folders."""
    names = f"{found['dataset']},{found['beside']}"
    return f"python -m experiments.compare_tables --datasets={names} --table={found['table']}"
