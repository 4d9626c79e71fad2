"""Jobs that several processes share: each is done by one of them, and none stops the others."""

from __future__ import annotations

import pathlib
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence

from dtn_jax import shared_files
from dtn_jax.errors import UserError
from dtn_jax.report import screen

LOOK = 2  # seconds between two looks at work that another process does
# Says the text and does it: True; None where it was done, False where another process does it.
Job = Callable[[str], bool | None]


def share(
    rounds: Sequence[Mapping[str, Job]], folder: pathlib.Path, apart: int = 1
) -> Iterator[list[str]]:
    """Does each job that no other process does, round by round; yields what failed whenever a
    round is all done. What another process does is waited for when nothing else is left.

    Whatever one run dies of, the others are done.

    Args:
      rounds: {what to say: the job}, round by round.
      folder: of what the jobs write, for messages about its disk.
      apart: so many first rounds have jobs that each take another time than all later ones.
    """
    left = {(i, label): job for i, jobs in enumerate(rounds) for label, job in jobs.items()}
    problems, told, idle = [], False, False
    took: dict[int, list[float]] = {}  # seconds, by kind: a round's number, `apart` of the others
    while left:
        if idle:
            if not told:
                others = ", ".join(label for _, label in left)
                screen.say(f"another process does {others}: waiting for it")
            told = True
            time.sleep(LOOK)
        idle = True
        pending = list(left.items())
        for place, ((i, label), job) in enumerate(pending):
            # Those before are done, or another process does them.
            about = remaining(took, [min(other, apart) for (other, _), _ in pending[place:]])
            start = time.monotonic()
            try:
                with shared_files.disk_errors(folder):
                    done = job(f"{label}{about}")
                if done is False:
                    continue
                if done:
                    took.setdefault(min(i, apart), []).append(time.monotonic() - start)
            except UserError as error:
                problems.append(f"  {label}: {error}")
            except OSError as error:
                problems.append(f"  {label}: {shared_files.told(error)}")
            except Exception as error:
                traceback.print_exc()
                problems.append(f"  {label}: {type(error).__name__}: {error}")
            del left[i, label]
            idle = False
            if all(other != i for other, _ in left):
                yield problems
                problems = []


def remaining(took: Mapping[int, Sequence[float]], left: Sequence[int]) -> str:
    """About how long the jobs that are left take, by what those of their kinds took."""
    known = sum(statistics.median(took[kind]) for kind in left if kind in took) / 60
    if not known:
        return ""
    word = "about" if all(kind in took for kind in left) else "more than"
    return f" (with those after it {word} {known:.0f} min)"
