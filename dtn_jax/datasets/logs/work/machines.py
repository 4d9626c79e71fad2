"""Machines that share the work on one folder: how many there are, who waits, and who has failed."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence

from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError
from dtn_jax.shared_files import write_whole

Machine = tuple[int, int]  # this machine's number, from 0 on, and how many share the work
WAIT_SECONDS = 1.0  # between looks at what other machines have done
PATIENCE_SECONDS = 10.0  # in which a machine that has failed may be starting again
SAY_SECONDS = 30.0  # between two lines about what is waited for
SHOWN = 3  # machines that a line lists


class OtherMachine(UserError):
    """What is wrong with another machine, not with this one."""


@dataclasses.dataclass(frozen=True)
class Machines:
    """All of them, as one of them sees them.

    Attributes:
      place: this machine's number, from 0 on.
      count: how many share the work.
      folder: what they share. `machines.json` says how many the first one knows of, and
        `failed.1.json` why the second one ended.
    """

    place: int
    count: int
    folder: pathlib.Path

    def name(self, place: int) -> str:
        return f"machine {place + 1} of {self.count}"

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Waits for the first machine, which may change how many there are; then keeps, for the
        others, why this one ended with an error."""
        failed = self._failed(self.place)
        failed.unlink(missing_ok=True)
        if self.place == 0:
            write_whole(self.folder / "machines.json", json.dumps(self.count))
        try:
            self.wait(lambda: "" if self._known() == self.count else f"{self.name(0)} to begin")
            yield
        except OtherMachine:
            raise
        except Exception as error:
            if self.count > 1:
                facts = {"count": self.count, "message": str(error) or type(error).__name__}
                with contextlib.suppress(OSError):
                    write_whole(failed, json.dumps(facts))
            raise

    def wait(self, left: Callable[[], str]) -> None:
        """Waits until nothing is left, and says meanwhile what is.

        Args:
          left: what is waited for, in words; '' where nothing is.

        Raises:
          OtherMachine: another machine has failed, or was told of another number of them.
        """
        said, said_at, since = "", float("-inf"), 0.0
        while what := left():
            now, fault = time.monotonic(), self.fault()
            since = (since or now) if fault else 0.0
            if fault and now - since >= PATIENCE_SECONDS:
                raise OtherMachine(fault)
            if what != said and now - said_at >= SAY_SECONDS:
                said, said_at = what, now
                progress.say(f"waiting for {what}")
            time.sleep(WAIT_SECONDS)

    def fault(self) -> str:
        """What is wrong with another machine; '' where nothing is."""
        known = self._known()
        if known not in (None, self.count):
            return (
                f"--shard={self.place + 1}/{self.count}: the first machine was started with "
                f"--shard=1/{known} on {self.folder}. Give every machine the same N; to go on with "
                f"{self.count}, start --shard=1/{self.count} first"
            )
        for place in range(self.count):
            facts = _read(self._failed(place)) if place != self.place else None
            if facts and facts["count"] == self.count:
                return f"{self.name(place)} failed: {facts['message']}"
        return ""

    def shares(self, tasks: Sequence[int], unit: str) -> str:
        """'3 units of machine 2 of 2', of tasks that machines take in turn; '' without tasks."""
        counts = collections.Counter(task % self.count for task in tasks)
        found = [
            f"{n:,} {unit}{'s' * (n > 1)} of {self.name(p)}" for p, n in sorted(counts.items())
        ]
        return ", ".join(found[:SHOWN]) + (" and others" if len(found) > SHOWN else "")

    def _known(self) -> int | None:
        """How many machines the first one knows of; None before it has begun, or has ended."""
        return _read(self.folder / "machines.json")

    def _failed(self, place: int) -> pathlib.Path:
        return self.folder / f"failed.{place}.json"


def _read(path: pathlib.Path) -> int | dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
