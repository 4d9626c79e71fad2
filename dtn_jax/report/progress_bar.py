"""Progress of training: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping

import rich.console
import rich.progress
import rich.text

from dtn_jax.report import screen

INTERVAL = 10.0  # seconds between two plain lines, at least; the first and the last always show
WINDOW = 120.0  # seconds over which speed is measured; wider than any pause between two updates
STEADY = 10.0  # seconds of steps before a time left is told


class _Bar(rich.progress.Progress):
    """A bar with the losses in a line below, as they would not fit beside it."""

    below = ""

    def get_renderables(self) -> Iterator[rich.console.RenderableType]:
        yield from super().get_renderables()
        yield rich.text.Text(self.below, "dim")


class ProgressBar:
    """Shows the progress of training: a bar in a terminal, else a line now and then.

        with ProgressBar(total_steps, total_epochs, start_step) as progress:
            progress.update(step=100, epoch=0, losses={"click": 0.3}, examples=102_400)

    Rates are measured over the last `WINDOW` seconds, from the first update on: they count neither
    compilation nor steps before a resume. The time left is measured over the first epoch, and anew
    from the second one on, with all later pauses: the first validation, which compiles, is no rule.

    Args:
      total_steps: steps of the whole run.
      total_epochs: epochs of the whole run.
      start_step: the step resumed from.
      may_stop: whether early stopping may end the run sooner than the time that is shown as left.
    """

    def __init__(
        self, total_steps: int, total_epochs: int, start_step: int = 0, *, may_stop: bool = False
    ):
        self._epochs = total_epochs
        self._left = "left at most" if may_stop else "left"
        self._epoch_starts: dict[int, tuple[float, int]] = {}  # of its first update: time, step
        self._line, self._printed, self._printed_at = "", "", -math.inf
        self._bar = screen.bars(
            screen.text_column("{task.description}", style="bold"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.MofNCompleteColumn(),
            screen.text_column("{task.fields[rate]}"),
            screen.text_column("{task.fields[left]}", style="progress.remaining"),
            kind=_Bar,
            speed_estimate_period=WINDOW,
        )
        self._bar.add_task("", total=total_steps, completed=start_step, rate="", left="")
        self._task = self._bar.tasks[0]

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()
        self._say(self._line, at_once=True)

    def update(
        self, *, step: int, epoch: int, losses: Mapping[str, float | int], examples: int = 0
    ) -> None:
        """Shows a new position.

        Args:
          step: steps done, those before a resume included.
          epoch: 0 in the first epoch, which is shown as 1.
          losses: {task: its loss}.
          examples: examples trained on since the last update (or since the start).
        """
        task, new_steps = self._task, step - self._task.completed
        self._bar.update(task.id, completed=step)
        if task.speed and new_steps > 0:
            task.fields["rate"] = f"{task.speed * examples / new_steps:,.0f} examples/s"
        where = f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}"
        loss = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._bar.below = loss and f"loss  {loss}"
        rate, left = task.fields["rate"], self._time_left(step, epoch)
        self._bar.update(task.id, description=where, left=left)
        parts = [where, f"step {step}/{task.total:.0f}", rate, loss and f"loss {loss}", left]
        self._say(" | ".join(filter(None, parts)))

    def _time_left(self, step: int, epoch: int) -> str:
        """'0:05:00 left'; '' before that is known, and at the end."""
        now = self._bar.get_time()
        self._epoch_starts.setdefault(epoch, (now, step))
        since, first = list(self._epoch_starts.values())[:2][-1]
        if now - since < STEADY or step <= first or self._task.finished:
            return ""
        seconds = (now - since) / (step - first) * (self._task.total - step)
        return f"{datetime.timedelta(seconds=round(seconds))} {self._left}"

    def tell(self, what: str) -> None:
        """Shows what is done between two steps, up to the next update."""
        self._bar.update(self._task.id, description=what)
        self._say(f"{what} | step {self._task.completed:.0f}/{self._task.total:.0f}")

    def _say(self, line: str, at_once: bool = False) -> None:
        """Prints a line where there is no bar, unless one was printed just before."""
        self._line, now = line, self._bar.get_time()
        late = at_once or now - self._printed_at >= INTERVAL
        if self._bar.disable and late and line != self._printed:
            print(line, file=self._bar.console.file, flush=True)
            self._printed, self._printed_at = line, now
