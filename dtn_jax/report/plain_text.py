"""Names and numbers in Markdown: names come from whoever made the data, and stay plain text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

SPECIAL = frozenset("\\`*_[]|#!~$")  # what Markdown may read as a sign of its own


def one_line(text: str) -> str:
    """A text without what steers a terminal or ends a line."""
    return "".join(c if c.isprintable() else "·" for c in text)


def escaped(text: str) -> str:
    """Any text as plain text, of one line, in Markdown and in the HTML that is made of it."""
    text = one_line(text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = "".join(f"\\{c}" if c in SPECIAL else c for c in text)
    return text.replace("://", "&#58;//").replace("www.", "www&#46;")  # no link by itself


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table; its first `left` columns are flush left. Cells are escaped here."""
    lines = [header, [*["---"] * left, *["---:"] * (len(header) - left)]]
    lines = [lines[0], lines[1], *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percents(shares: Iterable[float], largest: float) -> list[str]:
    """Shares as per cents of equal decimals: two, and more where the largest is below 1 %."""
    decimals = 2 - min(math.floor(math.log10(100 * largest)), 0) if largest > 0 else 2
    least = 0.5 * 10 ** -(decimals + 2)

    def told(share: float) -> str:
        sign, shown = ("< ", 10**-decimals) if 0 < share < least else ("", 100 * share)
        return f"{sign}{shown:.{decimals}f} %"

    return [told(float(share)) for share in shares]
