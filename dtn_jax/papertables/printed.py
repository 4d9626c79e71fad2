"""A printed table as text, and which rows and columns of a content it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dtn_jax.papertables.protocol import OURS


@dataclasses.dataclass(frozen=True)
class Text:
    """A printed table: the first column names the rows; **bold** cells are marked so."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = "Mean ± standard deviation over seeds."  # where it is printed alone
    outside: int = 0  # how many of the last rows are no runs of ours
    note: str = ""  # what its signs mean, below it


def with_ours(text: str, found: Mapping) -> str:
    """A text with the name of the entry that the table is about: {ours} and, in prose, {Ours}."""
    ours = found.get("ours", OURS)
    return text.format(ours=ours, Ours="DTN" if ours == OURS else ours)


def as_text(
    title: str, rows: Sequence[Mapping], columns: Mapping[str, Sequence[str]], seeds: int = 0
) -> Text:
    """Rows are named, with their number of seeds where it is below `seeds`."""
    names = [
        f"`{r['name']}`"
        + (f" ({len(r['seeds'])} of {seeds} seeds)" if len(r["seeds"]) < seeds else "")
        for r in rows
    ]
    return Text(title, ("", *columns), tuple(zip(names, *columns.values(), strict=True)))


def shown(found: Mapping) -> list[Mapping]:
    """The rows without those that are other names of a row that is shown."""
    names = {r["name"] for r in found["rows"]}
    return [r for r in found["rows"] if r["same_as"] not in names]


def keys_of(found: Mapping) -> list[str]:
    """The task@space of the table, in order."""
    return list(found["rows"][0]["metrics"]) if found["rows"] else []


def has(rows: Sequence[Mapping], key: str, metric: str) -> bool:
    return any(v is not None for r in rows for v in r["metrics"][key].get(metric, ()))
