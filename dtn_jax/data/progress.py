"""What the preparation of a data set shows: plain lines, and progress bars in a terminal."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import rich.progress

from dtn_jax.report import screen

T = TypeVar("T")
QUIET_SECONDS = 30.0  # without a terminal, between two lines about progress
STEADY = 10.0  # seconds before a time left is told


def say(text: str) -> None:
    """Prints a line as it is."""
    screen.say(text, highlight=False)


class Rows:
    """Progress bars of rows, one for each pass over a split; without a terminal, now and then a
    line.

    with Rows() as rows:
        for frame in rows.count(frames, "train", total=1000):
            ...
    """

    def __init__(self):
        self._bars = screen.bars(
            screen.text_column("{task.description}", style="bold"),
            rich.progress.BarColumn(bar_width=None),
            screen.text_column("{task.completed:,}{task.fields[of]}"),
            screen.text_column("{task.fields[pace]}"),
            rich.progress.TimeElapsedColumn(),
        )

    def __enter__(self) -> Rows:
        self._bars.start()
        return self

    def __exit__(self, *_) -> None:
        self._bars.stop()

    def count(
        self,
        items: Iterable[T],
        what: str,
        total: int = 0,
        rows: Callable[[T], int] = len,
        unit: str = "rows",
    ) -> Iterator[T]:
        """Passes `items` on and counts their rows.

        Args:
          items: what is counted.
          what: they are, for the reader.
          total: their rows, where that is known.
          rows: of an item.
          unit: what is counted, if not rows.
        """
        of = f" of {total:,}" if total else ""
        bar = self._bars.add_task(what, total=total or None, of=f"{of} {unit}", pace="")
        task, said = self._bars.tasks[bar], time.monotonic()
        for item in items:
            yield item
            self._bars.advance(bar, rows(item))
            pace = f"{task.speed or 0:,.0f} {unit}/s"
            if task.time_remaining and task.elapsed >= STEADY:  # others may follow
                pace += f", {datetime.timedelta(seconds=task.time_remaining)} left of this pass"
            self._bars.update(bar, pace=pace)
            if self._bars.disable and time.monotonic() - said >= QUIET_SECONDS:
                said = time.monotonic()
                say(f"{what}: {task.completed:,}{of} {unit}, {pace}")
        self._bars.update(bar, total=task.completed, of=f" {unit}")


def percent(part: int | float, whole: int | float = 1) -> str:
    """'1.2 %'; a few in a million do not read as none, nor all but a few as all."""
    share = 100 * part / max(whole, 1)
    if part and share < 0.01:
        return "< 0.01 %"
    if part < whole and share > 99.9:
        return "> 99.9 %"
    return f"{share:.1f} %" if share >= 1 else f"{share:.2g} %"
