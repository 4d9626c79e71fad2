"""A table of texts as terminal, Markdown, LaTeX and CSV show it; HTML is page.html's."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Iterator, Sequence

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
        parts = list(self._parts(width, gap)) if width else [self]
        if len(parts) > 1 and len(dense := list(self._parts(width, 1))) < len(parts):
            parts, gap = dense, 1
        shown: list = [rich.text.Text(self.title, "bold")] if self.title else []
        for part in parts:
            shown.append(part._rich(gap))
        if self.note:
            shown.append(rich.text.Text(plain(self.note) if self.marked else self.note, "dim"))
        return rich.console.Group(*shown)

    def markdown(self) -> str:
        """The table alone, ending in a line break."""
        cell = markdown.prose if self.marked else markdown.escaped
        return markdown.table(self.one_line_header(), self.rows, self.left, cell) + "\n"

    def one_line_header(self) -> list[str]:
        """The columns' names without line breaks."""
        return [name.replace("\n", " ") for name in self.header]

    def latex(self) -> str:
        """A `table` environment, for \\usepackage{booktabs,graphicx}."""
        import jinja2  # which a machine that only measures does without

        signs = ("<%", "%>", "<<", ">>")  # of blocks and of values
        environment = jinja2.Environment(*signs, trim_blocks=True, keep_trailing_newline=True)
        environment.filters["cell"] = self._latex_cell
        wide = max(sum(map(len, row)) for row in (self.header, *self.rows)) > WIDE
        return environment.from_string(TABLE.read_text()).render(grid=self, wide=wide)

    def csv(self) -> str:
        """The header and the rows, without marks."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for row in (self.header, *self.rows):
            texts = (cell.replace("\n", " ") for cell in row)
            writer.writerow(map(plain, texts) if self.marked else texts)
        return out.getvalue()

    def _parts(self, width: int, gap: int) -> Iterator[Grid]:
        """By columns, each part as wide as fits, the first `left` columns in each."""
        texts = [self._cells(i) for i in range(len(self.header))]
        letters = [max(len(line) for t in column for line in t.split("\n")) for column in texts]
        fixed = list(range(self.left))
        room = width - sum(letters[i] + gap for i in fixed)
        columns, left = [], room
        for i in range(self.left, len(self.header)):
            if columns and letters[i] > left:
                yield self.take(fixed + columns)
                columns, left = [], room
            columns.append(i)
            left -= letters[i] + gap
        yield self.take(fixed + columns)

    def _cells(self, column: int) -> list[str]:
        texts = [self.header[column], *(row[column] for row in self.rows)]
        return [plain(text) for text in texts] if self.marked else texts

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
