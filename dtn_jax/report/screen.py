"""All that is printed for a person: one console, on which a bracket in a name is a bracket.

Rich reads '[red]' in what it prints as markup. Names come from files and arguments of the user's,
so nothing here is read so: what has a style says it apart. No other module makes a console, or
prints by Rich's own functions.
"""

from __future__ import annotations

import functools

import rich.console
import rich.progress
import rich.segment
import rich.text

Part = str | tuple[str, str]  # text, or text and its style


@functools.cache
def console() -> rich.console.Console:
    """The console; bars and live tables take it too, so that what is said stands above them."""
    return rich.console.Console(markup=False, emoji=False)


def say(*parts: Part, style: str = "", highlight: bool | None = None) -> None:
    """Prints a line; each part as it is, or as (text, style)."""
    plain = len(parts) == 1 and isinstance(parts[0], str)
    text = parts[0] if plain else rich.text.Text.assemble(*parts)
    console().print(text, style=style or None, highlight=highlight, soft_wrap=True)


def show(thing: rich.console.RenderableType, least: int = 0) -> None:
    """Prints a table, or other things that fit the width of the terminal.

    Args:
      thing: what is printed; where nobody looks on, in a file or a pipe, its lines have no blanks
        at their ends.
      least: the columns that it needs: a narrower terminal breaks its lines, and loses nothing.
    """
    to = console()
    lines = to.render_lines(thing, to.options.update(max_width=max(to.width, least)))
    if to.is_terminal:
        to.print(rich.segment.SegmentLines(lines, new_lines=True), crop=False, end="")
    else:
        plain = ("".join(part.text for part in line).rstrip() for line in lines)
        to.out(*plain, sep="\n", highlight=False)


def bars(
    *columns: rich.progress.ProgressColumn,
    kind: type[rich.progress.Progress] = rich.progress.Progress,
    **how: float,
) -> rich.progress.Progress:
    """Progress bars as wide as the terminal; elsewhere disabled."""
    to = console()
    off = not to.is_terminal or to.is_dumb_terminal
    return kind(*columns, console=to, expand=True, disable=off, **how)


def text_column(format: str, style: str = "none") -> rich.progress.TextColumn:
    """A column of a progress bar, such as '{task.description}'."""
    return rich.progress.TextColumn(format, style=style, markup=False)
