"""The days of a long log, put together so that a reader can take them in."""

from __future__ import annotations

from collections.abc import Sequence

from dtn_jax.datasets.description.labels import Day

MOST_DAYS = 120
WIDTHS = (1, 7, 28, 91, 364)  # days


def shown_days(days: Sequence[Day]) -> tuple[list[Day], int]:
    """At most MOST_DAYS periods (or those of 364 days), and how many days each has.

    A period has the date of its first day of the calendar, whether the log has that day or not.
    """
    first = days[0].date.toordinal()
    span = days[-1].date.toordinal() - first + 1
    width = next((w for w in WIDTHS if -(-span // w) <= MOST_DAYS), WIDTHS[-1])
    return ([*days] if width == 1 else _joined(days, first, width)), width


def _joined(days: Sequence[Day], first: int, width: int) -> list[Day]:
    found: dict[int, Day] = {}
    for day in days:
        at = (day.date.toordinal() - first) // width
        before = found.get(at, Day(day.date.fromordinal(first + at * width), 0, {}))
        keys = dict.fromkeys((*before.sums, *day.sums))
        zero = (0, 0.0)
        sums = {
            key: tuple(a + b for a, b in zip(before.sums.get(key, zero), day.sums.get(key, zero)))
            for key in keys
        }
        found[at] = Day(before.date, before.rows + day.rows, sums)
    return list(found.values())
