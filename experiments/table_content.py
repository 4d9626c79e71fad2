"""What a table says, from its cells: means, spreads, differences and how sure they are."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dtn_jax.significance import FEW, compare, holm
from experiments.cells import unpacked
from experiments.protocols import Entry, Protocol

TOO_FEW = "too few"
METRICS = ("auc", "gauc", "logloss", "ece", "rmse", "r2")  # in this order, those that there are


def content(
    dataset: str,
    table: str,
    protocol: Protocol,
    entries: Sequence[Entry],
    cells: Mapping[str, Sequence[dict]],
    tunings: Mapping[str, dict],
    references: Mapping[str, dict],
) -> dict:
    """The table as data; what is written, drawn and reported is made from it alone.

    Args:
      dataset, table: their names.
      protocol, entries: what was asked for.
      cells: {entry: the cells of its seeds that are there}; entries without one have no row.
      tunings: {entry of `overall`: its tuning}.
      references: models from outside, {name: {"test": {task@space: AUC}, "version": …}}.
    """
    rows = [row(e, cells[e.name]) for e in entries if cells.get(e.name)]
    compare_all(rows, entries, cells, protocol.tested)
    missing = {e.name: protocol.seeds - len(cells.get(e.name, ())) for e in entries}
    found = [cell for e in entries for cell in cells.get(e.name, ())]
    return {
        "dataset": dataset,
        "table": table,
        "rows": rows,
        "missing": {name: count for name, count in missing.items() if count},
        "seeds": protocol.seeds,
        "trials": protocol.trials,
        "tuning": {
            name: {k: kept[k] for k in ("settings", "at_edge")} for name, kept in tunings.items()
        },
        "tuned_with": {k: str(v) for k, v in protocol.tuning.items()},
        "tested": list(protocol.tested),
        "note": protocol.note,
        "references": dict(references) if table == "overall" else {},
        "published": [
            {"source": p.source, "note": p.note, "auc": {k: dict(v) for k, v in p.auc.items()}}
            for p in protocol.published
            if table == "overall"
        ],
        "versions": sorted({f"jax {c['versions']['jax']}" for c in found}),
        "code": sorted({c["code"] for c in found}),
        "devices": sorted({c["device"] for c in found}),
        "cell_dates": sorted({c["date"] for c in found}),
        "date": datetime.date.today().isoformat(),
    }


def row(entry: Entry, cells: Sequence[dict]) -> dict:
    """An entry's metrics by task@space, a value a seed, and its size."""
    first = cells[0]["results"]
    metrics = {
        key: {
            name: [c["results"]["test"][key][name] for c in cells]
            for name in METRICS
            if name in found
        }
        for key, found in first["test"].items()
    }
    return {
        "name": entry.name,
        "group": entry.group,
        "at": entry.at,
        "against": entry.against,
        "seeds": [c["results"]["seed"] for c in cells],
        "metrics": metrics,
        "parameters": first["parameters"],
        "flops": first["flops_per_example"],
        "train_seconds": [c["train_seconds"] for c in cells],
        "settings": {k: str(v) for k, v in entry.settings.items()},
        "tuned_as": entry.tuned_as,
        "comparison": {},
    }


def compare_all(
    rows: Sequence[dict],
    entries: Sequence[Entry],
    cells: Mapping[str, Sequence[dict]],
    tested: Sequence[str],
) -> None:
    """Gives every row its difference from the one it is tested against, per task.

    A task is tested in the space of its loss, and only where both sides have seeds that differ.
    Holm's correction is over all of them together: rows x tasks.
    """
    p_values = {}
    for row_, entry in zip(rows, [e for e in entries if cells.get(e.name)], strict=True):
        own, other = cells[entry.name], cells.get(entry.against, ())
        if min(len(own), len(other)) < 2 or same(own, other):
            continue
        for key in own_spaces(row_["metrics"]):
            if (tested and key.partition("@")[0] not in tested) or key not in own[0]["draws"]:
                continue  # or it is a regression
            if classes(own[0], key) < FEW:
                row_["comparison"][key] = TOO_FEW
                continue
            draws = (np.stack([unpacked(c, key) for c in side]) for side in (own, other))
            aucs = (
                np.array([c["results"]["test"][key]["auc"] for c in side]) for side in (own, other)
            )
            found = compare(*draws, *aucs)
            row_["comparison"][key] = found._asdict()
            p_values[entry.name, key] = found.p
    adjusted = holm(p_values)
    for row_ in rows:
        for key, found in row_["comparison"].items():
            if found != TOO_FEW:
                found["p_holm"] = adjusted[row_["name"], key]


def same(own: Sequence[dict], other: Sequence[dict]) -> bool:
    """Whether two rows are of the same runs, under two names."""
    return [c["config"] for c in own] == [c["config"] for c in other]


def own_spaces(keys: Iterable[str]) -> list[str]:
    """The first task@space of each task: that of its loss."""
    return list({key.partition("@")[0]: key for key in reversed(list(keys))}.values())[::-1]


def classes(cell: Mapping, key: str) -> int:
    """Examples of the rarer class."""
    found = cell["results"]["test"][key]
    return min(found["positives"], found["examples"] - found["positives"])
