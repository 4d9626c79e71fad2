"""Names in pictures, as they are written: '$' is a letter."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text


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
