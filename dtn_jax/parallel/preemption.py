"""SIGTERM, which spot machines send before they go, and Ctrl-C: a run that trains is saved first.

The chunk of steps in flight is finished and saved, and the process exits as shells have it: with
143 after SIGTERM, with 130 after Ctrl-C. Until the first chunk is compiled, and after the last one,
there is nothing to save: the process ends at once, and says so.

Several processes must save the same step, whichever of them has the signal. JAX tells all of them
of a SIGTERM, and finds the first chunk that none of them has ended yet.
"""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import jax
from jax.experimental import multihost_utils

from dtn_jax.parallel import interrupts, processes

CHUNKS = itertools.count(1)  # of this process; JAX needs numbers that follow one another


class Preempted(SystemExit):
    """A run is saved and ends; `code` is the process's exit code."""


class Notices(contextlib.ExitStack):
    """Inside, signals that come while a run trains end it after a chunk of steps.

    Args:
      wanted: False leaves all signals as they are.
    """

    def __init__(self, wanted: bool):
        super().__init__()
        self.wanted = wanted
        self.came: Callable[[], int] | None = None

    def due(self) -> bool:
        """Whether the run is to end after this chunk; called after each one, in all processes."""
        if not self.wanted:
            return False
        alone = jax.process_count() == 1  # else JAX has the handler of SIGTERM
        if self.came is None:
            self.came = self.enter_context(interrupts.noted(*[signal.SIGTERM] * alone))
        if alone:
            return self.came() > 0
        if self.came():
            signal.raise_signal(signal.SIGTERM)
        return multihost_utils.reached_preemption_sync_point(next(CHUNKS))

    def leave(self, step: int, last: int, folder: pathlib.Path) -> NoReturn:
        """Raises Preempted, and says that this step of a run in a folder is saved."""
        by_hand = self.came() == signal.SIGINT
        if processes.is_first():
            print(
                f"{'interrupted' if by_hand else 'preempted'}: step {step} of {last} is saved in "
                f"{folder}; the same command resumes there",
                file=sys.stderr,
            )
        raise Preempted(interrupts.CODE if by_hand else interrupts.TERMINATED)
