"""A table's content as LaTeX, for \\usepackage{booktabs,graphicx}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dtn_jax.papertables.notes import footnotes
from dtn_jax.papertables.printed import Text
from dtn_jax.papertables.text import published_text, texts

WIDE = 70  # letters of a row beyond which a table is shrunk to the width of the page

ESCAPES = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
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
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
}


def escaped(text: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in text).replace("--", "-{}-")


def latex(found: Mapping) -> str:
    """A table environment for each printed table; the table's notes stand under the first.

    What others published has a table of its own: one page has no room for both.
    """
    notes = escaped(" ".join(footnotes(found)).replace("`", ""))
    shown = texts(found | {"published": []})
    if published := published_text(found):
        shown.insert(1, published)
    return "\n".join(latex_table(t, escaped(t.note) if i else notes) for i, t in enumerate(shown))


def latex_table(text: Text, notes: str = "") -> str:
    def cell(content: str) -> str:
        inner = content.replace("`", "")
        if inner.startswith("**"):
            bold, _, rest = inner[2:].partition("**")
            return rf"\textbf{{{escaped(bold)}}}{escaped(rest)}"
        return escaped(inner)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell(c) for c in cells) + r" \\"

    rows = [line(cells) for cells in text.rows]
    if text.outside:
        rows.insert(len(rows) - text.outside, r"\midrule")
    wide = max(sum(map(len, cells)) for cells in (text.header, *text.rows)) > WIDE
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(f'{text.title}. {text.caption}'.rstrip())}}}",
        *([r"\resizebox{\linewidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{l{'r' * (len(text.header) - 1)}}}",
        r"\toprule",
        line(text.header),
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}" + ("}" if wide else ""),
        *([rf"\\[2pt] \parbox{{\linewidth}}{{\footnotesize {notes}}}"] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
