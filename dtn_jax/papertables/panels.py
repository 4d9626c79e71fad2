"""The panels of a table's pictures, and the grey and the markers in them."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

GREY = "#888888"
MARKERS = "osD^vPX*"  # as many as make, with 9 colours, 72 pairs
PER_ROW = 4  # panels side by side


def panels(
    count: int, width: float, height: float, columns: int = 0, **shared
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of that size in inches, `columns` of them side by side; by
    default at most PER_ROW, and rows equally long. `shared`: sharex or sharey."""
    columns = columns or -(-count // -(-count // PER_ROW))
    rows = -(-count // columns)
    figure = Figure(figsize=(1.6 + width * columns, 0.4 + height * rows), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for axes in every[count:]:
        axes.set_visible(False)
    return figure, list(every[:count])
