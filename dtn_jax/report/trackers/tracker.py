"""What a tracker is."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

NOT_NUMBERS = ("kind", "step", "epoch", "day")


class Tracker(Protocol):
    """See the folder's docstring."""

    def log(self, record: Mapping) -> None: ...

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None: ...

    def close(self) -> None: ...


def numbers(record: Mapping) -> dict[str, float]:
    """The numbers of a record by their full names, such as 'train/loss/click'."""
    return {
        f"{record['kind']}/{name}": value
        for name, value in record.items()
        if name not in NOT_NUMBERS and value is not None
    }


def final(results: Mapping, path: str = "final") -> Iterator[tuple[str, float]]:
    """The numbers of results.json by their full names, such as 'final/test/click@all/auc'."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from final(value, f"{path}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}/{name}", float(value)
