"""A table of texts as terminal, Markdown, LaTeX and CSV show it; HTML is page.html's."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Sequence

import rich.box
import rich.console
import rich.table
import rich.text

from dtn_jax.report import markdown

TABLE = pathlib.Path(__file__).with_name("table.tex")
GAP = 2  # letters between the columns of a terminal
WIDE = 70  # letters of a row beyond which LaTeX shrinks a table to the width of its page
LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "\n": " ",
    "\r": " ",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "²": r"$^2$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "√": r"$\surd$",
    **{letter: f"\\{letter}" for letter in "_%&#${}"},
    **{letter: f"${letter}$" for letter in "<>|"},
}


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
      header: the columns' names; a line break in one is kept in a terminal alone.
      rows: cells, as many a row as there are columns.
      title: shown above; in LaTeX it begins the caption.
      note: shown below, where the form has a place for it: a sentence on signs and sources.
      left: so many first columns are flush left; the others hold numbers.
      rules: numbers of the rows above which a line is drawn.
      marked: whether `code` and **bold** in texts are marks; else these are letters, as in names
        that come from data.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""
    left: int = 1
    rules: Sequence[int] = ()
    marked: bool = False

    def take(self, columns: Sequence[int]) -> Grid:
        """The same with some of its columns, in this order."""
        rows = [[row[i] for i in columns] for row in self.rows]
        return dataclasses.replace(self, header=[self.header[i] for i in columns], rows=rows)

    def terminal(self, width: int = 0, gap: int = GAP) -> rich.console.Group:
        """For `screen.show`: in parts that are no wider than `width` letters, where it is given;
        each has the first column. There are `gap` blanks between columns, or one where that
        saves a part."""
        parts = self._parts(width, gap)
        if len(parts) > 1 and len(dense := self._parts(width, 1)) < len(parts):
            parts, gap = dense, 1
        title = [rich.text.Text(self.title, "bold")] if self.title else []
        note = [rich.text.Text(self._plain(self.note), "dim")] if self.note else []
        return rich.console.Group(*title, *(part._rich(gap) for part in parts), *note)

    def markdown(self) -> str:
        """The table alone, ending in a line break."""
        form = markdown.prose if self.marked else markdown.escaped
        every = [self.one_line_header(), *self.rows]
        lines = [[form(cell).replace("|", r"\|") for cell in row] for row in every]
        lines.insert(1, ["---"] * self.left + ["---:"] * (len(self.header) - self.left))
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def one_line_header(self) -> list[str]:
        """The columns' names without line breaks."""
        return [name.replace("\n", " ") for name in self.header]

    def latex(self) -> str:
        """A `table` environment, for \\usepackage{booktabs,graphicx}."""
        import jinja2  # which a machine that only measures does without

        signs = ("<%", "%>", "<<", ">>")  # of blocks and of values
        environment = jinja2.Environment(*signs, trim_blocks=True, keep_trailing_newline=True)
        environment.filters["cell"] = self._latex_cell
        wide = max(sum(map(len, row)) for row in self._lines()) > WIDE
        return environment.from_string(TABLE.read_text()).render(grid=self, wide=wide)

    def csv(self) -> str:
        """The header and the rows, without marks."""
        out = io.StringIO()
        rows = ((self._plain(cell).replace("\n", " ") for cell in row) for row in self._lines())
        csv.writer(out, lineterminator="\n").writerows(rows)
        return out.getvalue()

    def _lines(self) -> Sequence[Sequence[str]]:
        return self.header, *self.rows

    def _parts(self, width: int, gap: int) -> list[Grid]:
        """By columns, each part as wide as fits, the first `left` columns in each; 0: one part."""
        if not width:
            return [self]
        cells = (
            [self._plain(cell).split("\n") for cell in column] for column in zip(*self._lines())
        )
        widths = [gap + max(len(line) for cell in column for line in cell) for column in cells]
        room, parts = width + gap - sum(widths[: self.left]), [[]]
        for i in range(self.left, len(widths)):
            if parts[-1] and sum(widths[c] for c in (*parts[-1], i)) > room:
                parts.append([])
            parts[-1].append(i)
        return [self.take([*range(self.left), *columns]) for columns in parts]

    def _rich(self, gap: int) -> rich.table.Table:
        table = rich.table.Table(
            box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0)
        )
        for i, name in enumerate(self.header):
            how = {"justify": "left" if i < self.left else "right", "vertical": "bottom"}
            table.add_column(self._styled(name), overflow="fold", **how)
        for place, row in enumerate(self.rows):
            if place in self.rules:
                table.add_section()
            table.add_row(*map(self._styled, row))
        return table

    def _styled(self, cell: str) -> rich.text.Text:
        parts = self._pieces(cell)
        return rich.text.Text.assemble(*((part, "bold" * bold) for part, bold in parts))

    def _latex_cell(self, cell: str) -> str:
        parts = ((in_latex(part), bold) for part, bold in self._pieces(cell))
        return "".join(rf"\textbf{{{part}}}" if bold else part for part, bold in parts)

    def _plain(self, cell: str) -> str:
        return plain(cell) if self.marked else cell

    def _pieces(self, cell: str) -> list[tuple[str, bool]]:
        """Parts of a cell, and whether each is bold."""
        if not self.marked:
            return [(cell, False)]
        return [(part, i % 2 == 1) for i, part in enumerate(cell.replace("`", "").split("**"))]


def plain(text: str) -> str:
    """A marked text without its marks."""
    return text.replace("`", "").replace("**", "")


def in_latex(text: str) -> str:
    """Any text as letters of LaTeX."""
    return "".join(LATEX.get(letter, letter) for letter in text).replace("--", "-{}-")
