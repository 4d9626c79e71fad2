"""How often each task's label is positive on each day, in each of its spaces."""

from __future__ import annotations

import numpy as np

from dtn_jax.data import times
from dtn_jax.data.rows import TIME, Rows
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.schema import ALL
from dtn_jax.shapes import Int64


def days_of(rows: Rows) -> Int64[np.ndarray, " B"]:
    """The days since 1970-01-01 of the rows of a dated log, in UTC."""
    return rows.numbers(TIME) // times.DAY


class Days:
    """Sums by day.

    Attributes:
      rows: {day since 1970: rows}.
      sums: {task@space: {day: [rows whose label is known, sum of the labels]}}, where the log has
        `weight` by weight.
    """

    def __init__(self, spec: Spec, dated: bool):
        self.spec, self.dated = spec, dated
        self.rows: dict[int, int] = {}
        self.sums: dict[str, dict[int, list[float]]] = {
            f"{task.name}@{space}": {}
            for task in spec.tasks
            for space in dict.fromkeys((task.space, *task.also_report))
        }

    def add(self, rows: Rows) -> None:
        if not len(rows):
            return
        day = days_of(rows) if self.dated else np.zeros(len(rows), np.int64)
        days, place = np.unique(day, return_inverse=True)
        for of, count in zip(days.tolist(), np.bincount(place).tolist(), strict=True):
            self.rows[of] = self.rows.get(of, 0) + count
        names = [task.name for task in self.spec.tasks]
        labels, weight, number = rows.labels(names), rows.weight(), float
        if weight is None:
            weight, number = 1, int
        for key, sums in self.sums.items():
            name, space = key.split("@")
            label = labels[:, names.index(name)]
            known = ~np.isnan(label)
            if space != ALL:
                known &= labels[:, names.index(space)] == 1
            counts = np.bincount(place, known * weight, len(days))
            totals = np.bincount(place, np.where(known, label, 0) * weight, len(days))
            for of, count, total in zip(days.tolist(), counts, totals, strict=True):
                before = sums.setdefault(of, [0, 0.0])
                sums[of] = [before[0] + number(count), before[1] + float(total)]

    def include(self, facts: dict) -> None:
        """Adds what `to_json` gave of later rows."""
        for day, count in facts["rows"]:
            self.rows[day] = self.rows.get(day, 0) + count
        for key, found in facts["sums"].items():
            for day, count, total in found:
                before = self.sums[key].setdefault(day, [0, 0.0])
                self.sums[key][day] = [before[0] + count, before[1] + total]

    def far(self) -> list[str]:
        """A line for the rows whose days are far from those of all others; none where none are.

        Far is ten times as long as the middle half of the rows takes, and at least a year, from it.
        """
        if not self.dated or not self.rows:
            return []
        days, rows = (np.array(part) for part in zip(*sorted(self.rows.items())))
        mass = rows.cumsum() / rows.sum()
        low, high = days[np.searchsorted(mass, [0.25, 0.75])]
        apart = max(10 * (high - low), 365)
        far = (days < low - apart) | (days > high + apart)
        if not far.any():
            return []
        shown = [times.show(int(day) * times.DAY, "date") for day in days[far][:3]]
        more = ", …" * int(far.sum() > 3)
        middle = " to ".join(times.show(int(day) * times.DAY, "date") for day in (low, high))
        return [
            f"{rows[far].sum():,} rows have times far from the others' in {self.spec.time!r} "
            f"({', '.join(shown)}{more}; half of all are of {middle}): is their unit another?"
        ]

    def total(self, key: str) -> tuple[int | float, float]:
        """Of a task@space the sum over all days of what `sums` has."""
        found = self.sums[key].values()
        return sum(count for count, _ in found), sum(total for _, total in found)

    def to_json(self) -> dict:
        sums = {
            key: [[day, *found] for day, found in sorted(by_day.items())]
            for key, by_day in self.sums.items()
        }
        return {"dated": self.dated, "rows": sorted(self.rows.items()), "sums": sums}
