"""The suite's table in Markdown, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADER = (
    "cell",
    "peak MB",
    "of its memory",
    "stored",
    "copies",
    "passes",
    "repeated scatters",
    "on chip, MB",
    "collectives, MB",
    "largest, MB",
    "further round, MB",
    "longest sort",
    "received",
    "held / plan",
    "carried / plan",
    "plan / peak",
)


def markdown(found: Mapping[str, Any]) -> str:
    """A line for each cell; copies, of any table, and passes, over tables that are not short, are
    `a step + a chunk`."""
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1))]
    lines += [cells(row) for row in found["rows"]]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{table}\n{' '.join(found['notes'])}\n\n"


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["cell"],
        "does not fit" if row["error"] else text(row["peak MB"]),
        text(row["of its memory"], ".0%"),
        text(row["stored over logical"], ".3f"),
        twice(row, "copies", "short copies"),
        twice(row, "passes"),
        text(row["repeated scatters"]),
        text(row["on chip MB a step"]),
        text(row["padded MB a step"]),
        text(row["largest collective MB"]),
        text(row["carried MB a further round"]),
        text(row["longest sort"]),
        text(row["received"]),
        text(row["held over plan"], ".3f"),
        text(row["carried over plan"], ".3f"),
        text(row["plan over peak"], ".2f"),
    )


def twice(row: Mapping[str, Any], *kinds: str) -> str:
    """`3 + 6`: a step, and a chunk outside of its loop of steps."""
    counts = [[row[f"{kind} a {when}"] for kind in kinds] for when in ("step", "chunk")]
    return "" if None in counts[0] else " + ".join(str(sum(count)) for count in counts)


def text(content: str | int | float | None, form: str = ",.0f") -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return f"{content:{form}}"
