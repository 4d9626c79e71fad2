"""A table's content as LaTeX, for \\usepackage{booktabs}."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.table_notes import footnotes
from experiments.table_text import Text, texts

ESCAPES = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "²": r"$^2$",
    "≤": r"$\leq$",
    "<": "$<$",
    ">": "$>$",
}


def escaped(text: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in text)


def latex(found: Mapping) -> str:
    """A table environment for each printed table; the notes stand under the first."""
    notes = escaped(" ".join(footnotes(found)).replace("`", ""))
    return "\n".join(latex_table(t, "" if i else notes) for i, t in enumerate(texts(found)))


def latex_table(text: Text, notes: str = "") -> str:
    def cell(content: str) -> str:
        inner = content.replace("`", "")
        if inner.startswith("**"):
            bold, _, rest = inner[2:].partition("**")
            return rf"\textbf{{{escaped(bold)}}}{escaped(rest)}"
        return escaped(inner)

    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(f'{text.title}. {text.caption}'.rstrip())}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(text.header) - 1)}}}",
        r"\toprule",
        " & ".join(cell(c) for c in text.header) + r" \\",
        r"\midrule",
        *(" & ".join(cell(c) for c in row) + r" \\" for row in text.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *([rf"\\[2pt] \parbox{{\linewidth}}{{\footnotesize {notes}}}"] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
