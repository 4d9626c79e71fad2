"""When a run logs, validates, leaves a checkpoint and stops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.options import option

LOG_EVERY = 100  # steps between lines of the log, if that makes at least
LOG_LINES = 25  # of them


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Section `train`."""

    epochs: int = option(1, "passes over the train split", least=1, below=2**31)
    max_steps: int = option(
        0, "stop after this many steps; 0 leaves it to epochs", least=0, below=2**31
    )
    max_examples: int = option(
        0,
        "with patience, stop after this many examples, but not within the first epoch; 0 is no "
        "limit. Without patience a run trains exactly its epochs",
        least=0,
    )
    eval_every: int = option(0, "steps between validations; 0 is once per epoch", least=0)
    checkpoint_every: int = option(
        1000, "steps between checkpoints; each validation makes one too", least=1, runtime=True
    )
    log_every: int = option(
        0,
        "steps between lines of metrics.jsonl; 0 is 100, less in short runs",
        least=0,
        runtime=True,
    )
    accumulate: int = option(
        1,
        "parts that a batch is stepped through in, to save memory; same numbers but for rounding",
        least=1,
        runtime=True,
        needs={"model.normalisation": ("layer", "none")},
    )
    skip_nonfinite: int = option(
        0,
        "steps with a loss or gradient that is not finite to leave out, the state unchanged; one "
        "more ends the run",
        least=0,
        runtime=True,
    )
    evaluate_first: bool = option(
        False,
        "progressive validation: score each day of train before it is trained on, for metrics by "
        "day; needs data.order=day and one epoch, costs one scoring of train",
        needs={"data.order": ("day",), "train.epochs": (1,)},
    )
    patience: int = option(
        0,
        "validations without a gain before stopping; 0 is never. Needs optim.schedule=constant",
        least=0,
        needs={"optim.schedule": ("constant",)},
    )
    select: str = option(
        "mean",
        "whose validation metric picks the state that is reported, and is what early stopping "
        "watches: mean (over tasks), a task, or the mean of some, 'click+order'; of AUC (R2 of a "
        "regression) or of the metrics named, 'click:logloss', 'mean:logloss'",
    )
    start_from: str = option(
        "",
        "workdir of a finished run whose last state is this run's first: tomorrow's run on a set "
        "that is the same, or extends that run's (dtn-jax prepare --extend); '' is a new state",
    )


@dataclasses.dataclass(frozen=True)
class Timetable:
    """The steps of a run at which the host has something to do.

    Attributes:
      total_steps: of the run.
      steps_per_epoch: of the train split.
      eval_every: steps from one validation to the next.
      checkpoint_every: steps between checkpoints; each validation makes one too.
      log_every: steps between lines of the log.
      first_steps: at which days of train begin, if each is scored first.
    """

    total_steps: int
    steps_per_epoch: int
    eval_every: int
    checkpoint_every: int
    log_every: int
    first_steps: tuple[int, ...] = ()

    def validation_is_due(self, step: int) -> bool:
        """Whether this step is followed by a validation; the last one always is."""
        return step == self.total_steps or step % self.eval_every == 0

    def checkpoint_is_due(self, step: int) -> bool:
        """Each validation has one, and each day that is scored first, so that nothing which they
        found is found again."""
        scored = self.validation_is_due(step) or step in self.first_steps
        return scored or step % self.checkpoint_every == 0

    def steps_to_next_stop(self, step: int) -> int:
        """How many steps the next chunk has: it ends where the host has something to do."""
        every = (self.log_every, self.checkpoint_every, self.eval_every, self.steps_per_epoch)
        stops = [n - step % n for n in every] + [n - step for n in self.first_steps if n > step]
        return min(*stops, self.total_steps - step, CHUNK_STEPS)


def make_timetable(
    train: ConfigDict | FrozenConfigDict,
    steps_per_epoch: int,
    batch_size: int,
    days_begin: Sequence[int] = (),
) -> Timetable:
    """The timetable that section `train` of a config asks for.

    Args:
      train: the section.
      steps_per_epoch: of the train split.
      batch_size: examples of a step.
      days_begin: the steps at which days begin that are scored first.
    """
    total, examples = steps_per_epoch * train.epochs, train.max_examples
    if train.patience and examples:
        total = min(total, max(examples // batch_size, steps_per_epoch))
    total = min(total, train.max_steps or total)
    eval_every = train.eval_every or steps_per_epoch
    certain = eval_every * (1 + train.patience) if train.patience else total
    usual = max(1, min(LOG_EVERY, min(certain, total) // LOG_LINES))
    log_every, first = train.log_every or usual, tuple(n for n in days_begin if n < total)
    return Timetable(total, steps_per_epoch, eval_every, train.checkpoint_every, log_every, first)
