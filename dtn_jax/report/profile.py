"""Records a trace of some steps of a run: XProf shows which operations took how long.

Alone, since it is no picture and no table: it watches the loop of training.
"""

from __future__ import annotations

import pathlib

import jax

from dtn_jax.parallel import processes
from dtn_jax.report import screen

VIEWER = "pip install xprof; xprof --logdir"


class Profile:
    """A trace of the first `steps` steps after the one that compiles.

    It changes no number, only how many steps a chunk has: in every process, so that all agree,
    though only the first one records. In a run with fewer steps it ends with them.

    A context manager, which ends the trace.

    Args:
      folder: for the trace; JAX makes a folder in it for each one.
      steps: 0 records nothing.
    """

    def __init__(self, folder: pathlib.Path, steps: int):
        self.folder, self.steps, self.left = folder, steps, steps
        self.recording, self.last = False, None  # arrays of the last step, to wait for it

    def at_most(self, count: int) -> int:
        """How many steps the next chunk may have; starts the trace once the program is compiled."""
        if not self.left:
            return count
        if self.last is None:
            return 1
        if not self.recording:
            self.recording = True
            jax.block_until_ready(self.last)
            if processes.is_first():
                options = jax.profiler.ProfileOptions()
                options.python_tracer_level = 0  # to trace every call would slow the host
                jax.profiler.start_trace(str(self.folder), profiler_options=options)
        return min(count, self.left)

    def add(self, arrays: object, count: int) -> bool:
        """Takes what a chunk of `count` steps made; True if the trace ends here, which takes time.

        Args:
          arrays: which nothing consumes, such as losses.
        """
        if self.left:
            self.last = arrays
        if not self.recording:
            return False
        self.left -= count
        if not self.left:
            self.end()
        return not self.left

    def end(self) -> None:
        """Ends the trace, if one is being recorded, and says how to look at it."""
        if self.recording and processes.is_first():
            jax.block_until_ready(self.last)
            jax.profiler.stop_trace()
            recorded = self.steps - self.left
            steps = f"{recorded} step{'s' if recorded > 1 else ''}"
            where = f"{self.folder}; to look at it: {VIEWER} {self.folder}"
            screen.say(f"A trace of {steps} is in {where}")
        self.left, self.recording, self.last = 0, False, None

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.end()
