"""A table's content as LaTeX, for \\usepackage{booktabs}."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.table_text import Text, footnotes, texts

ARROWS = {"↓", "↑"}
LEGEND = (
    r"$\downarrow$, $\uparrow$: below or above dtn at $p < 0.05$ (hierarchical bootstrap over "
    r"seeds and test examples, Holm-corrected)."
)
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
    "<": "$<$",
    ">": "$>$",
}


def escaped(text: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in text)


def latex(found: Mapping) -> str:
    notes = [escaped(note.replace("`", "")) for note in footnotes(found)]
    tables = [latex_table(t, found) for t in texts(found)]
    return "\n".join([*tables, *(f"% {note}" for note in notes)]) + "\n"


def latex_table(text: Text, found: Mapping) -> str:
    def cell(content: str) -> str:
        inner = content.replace("`", "")
        if inner.startswith("**"):
            bold, _, rest = inner[2:].partition("**")
            return rf"\textbf{{{escaped(bold)}}}{escaped(rest)}"
        return escaped(inner)

    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(text.title)}. Mean $\pm$ standard deviation over "
        rf"{found['seeds']} seeds.}}",
        rf"\begin{{tabular}}{{l{'r' * (len(text.header) - 1)}}}",
        r"\toprule",
        " & ".join(cell(c) for c in text.header) + r" \\",
        r"\midrule",
        *(" & ".join(cell(c) for c in row) + r" \\" for row in text.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(
            [rf"\\[2pt] {{\footnotesize {LEGEND}}}"]
            if any(ARROWS & set("".join(r)) for r in text.rows)
            else []
        ),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
