"""Rows of a protocol's table less those of the same names in another's, on the same test rows.

Both protocols' runs score one test split, and their cells have the AUC under the same draws of its
examples. So a row and its like are compared as two rows of one table are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader

from .content import compare_all, row
from .entries import TABLES
from .work import Work

PRINTED = ("auc", "gauc", "logloss", "predicted_observed")  # of both tables


def row_by_row(works: Mapping[str, Work], table: str) -> dict:
    """The content of a table of differences, as `difference_text` and the pictures read it.

    Args:
      works: {protocol: its runs}, of two; the second's rows are taken from the first's.
      table: one of TABLES.

    Raises:
      UserError: the two have other test rows, or no row of the same name with runs of both.
    """
    (name, work), (beside, other) = works.items()
    check_same_rows(works)
    mine, theirs = (
        {entry.name: entry for entry in TABLES[table](w.protocol, w.data.schema, w.size)}
        for w in (work, other)
    )
    against = {entry: f"{entry} of {beside}" for entry in mine if entry in theirs}
    if not against:
        raise UserError(
            f"{table} has no row of the same name in {name} and {beside}: the first has "
            f"{', '.join(mine)}, the second {', '.join(theirs)}"
        )
    cells = {entry: work.cells(mine[entry]) for entry in against}
    cells |= {against[entry]: other.cells(theirs[entry]) for entry in against}
    there = [entry for entry in against if cells[entry] and cells[against[entry]]]
    if not there:
        raise UserError(
            f"no row of {table} has finished runs of both {name} and {beside}; make both tables "
            "with paper_tables, in one workdir"
        )
    entries = [dataclasses.replace(mine[e], against=against[e]) for e in there]
    rows = [row(e, cells[e.name], work.protocol) for e in entries]
    compare_all(rows, entries, cells, work.protocol.tested)
    used = [cell for e in there for cell in (*cells[e], *cells[against[e]])]
    return {
        "dataset": name,
        "table": table,
        "beside": beside,
        "rows": [of_metrics(found) for found in rows],
        "beside_metrics": {e: metrics(cells[against[e]]) for e in there},
        "beside_seeds": {e: len(cells[against[e]]) for e in there},
        "seeds": [work.protocol.seeds, other.protocol.seeds],
        "examples": work.data.rows["test"],
        "tested": list(work.protocol.tested),
        "unfinished": [e for e in against if e not in there],
        "without_like": {
            name: [e for e in mine if e not in theirs],
            beside: [e for e in theirs if e not in mine],
        },
        "cell_dates": sorted({cell["date"] for cell in used}),
        "ours": work.protocol.ours,
    }


def of_metrics(found: Mapping) -> dict:
    """Of a table's row what is printed here: all else stands in the table itself."""
    kept = {name: found[name] for name in ("name", "seeds", "comparison")}
    return kept | {"metrics": {k: printed(m) for k, m in found["metrics"].items() if "auc" in m}}


def printed(found: Mapping) -> dict:
    return {metric: found[metric] for metric in PRINTED if metric in found}


def metrics(cells: Sequence[Mapping]) -> dict[str, dict[str, list[float | None]]]:
    """By task@space and metric, a value a seed."""
    first, *_ = results = [cell["results"]["test"] for cell in cells]
    return {
        key: {metric: [r[key].get(metric) for r in results] for metric in printed(first[key])}
        for key in first
    }


def check_same_rows(works: Mapping[str, Work]) -> None:
    """Raises UserError unless both sets have the same tasks, and every draw takes the same rows.

    Where there are groups, whole groups are drawn, in the order of their numbers: each must have
    the same labels, in any order. Else rows are drawn: each must have the labels of its like.
    """
    (name, one), (beside, other) = ((name, work.data) for name, work in works.items())
    for what, own, its in (
        ("tasks", one.schema.tasks, other.schema.tasks),
        ("number of test rows", one.rows["test"], other.rows["test"]),
        ("groups of test", groups(one), groups(other)),
        ("labels of test", labels(one), labels(other)),
    ):
        if not np.array_equal(own, its):
            raise UserError(
                f"{name} and {beside} differ in the {what}; only tables of the same test rows can "
                "be compared row by row"
            )


def groups(data: Prepared) -> Int[np.ndarray, " B"]:
    """The group of each test row, sorted; nothing where the set has none."""
    found = data.groups("test")
    return np.sort(found) if found is not None else np.empty(0, np.int64)


def labels(data: Prepared) -> Float[np.ndarray, "B C"]:
    """Test's labels, 0 where a task has none, and which tasks have one; sorted within groups."""
    batch = SplitReader(data, "test").everything()
    there = np.asarray(batch.label_mask)
    found = np.concatenate([np.where(there, np.asarray(batch.labels), 0), there], axis=1)
    if (group := data.groups("test")) is None:
        return found
    return found[np.lexsort([*found.T, group])]
