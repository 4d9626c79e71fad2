"""Names in Markdown and in pictures, as they are written: no letter of one is a sign of the format.

What a package of ours marks up itself, `code` and **bold**, stays marked up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.text import Text

CODE = re.compile(r"(`[^`\n]*`)")
# What would begin a tag or an entity of HTML, or make a link or picture of what stands before.
SIGNS = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[:])")


def prose(text: str) -> str:
    """A text of Markdown, in which names can be no HTML and no links."""
    parts = CODE.split(text)  # in code, which has odd places, no letter is a sign
    return "".join(p if i % 2 else SIGNS.sub(r"\\\g<0>", p) for i, p in enumerate(parts))


def cell(text: str) -> str:
    """A cell of a table of Markdown."""
    return re.sub(r"\s*[\r\n]+\s*", " ", prose(text)).replace("|", r"\|")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, numbers to the right of the first column; ends without a line break."""
    lines = [[*map(cell, header)], ["---", *["---:"] * (len(header) - 1)]]
    lines += [[*map(cell, row)] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(figure: Figure) -> None:
    """Lets '$' be a letter in a picture, but on logarithmic axes, whose numbers have it for TeX."""
    powers = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if axis.get_scale() != "linear"
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        if id(text) not in powers:
            text.set_parse_math(False)
