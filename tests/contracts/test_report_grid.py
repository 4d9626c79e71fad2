"""One table in each of its forms: the same cells, no letter of a name read as a sign."""

import csv
import io

import rich.console

from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import Section, page

NAMES = Grid(("field", "AUC\n@all"), [("a_b|c`<x>", "0.9 ± 0.1"), ("**d**", "−1 $")], "On 5 % & 1")
MARKED = Grid(
    ("", "auc", "p"),
    [("`dtn`", "**0.91**↑", "0.01"), ("`mmoe`", "0.90", "")],
    rules=[1],
    marked=True,
)


def in_html(grid):
    return page("", [Section("", grids=[grid])])


def printed(grid, width=0):
    console = rich.console.Console(width=200, record=True, file=io.StringIO(), markup=False)
    console.print(grid.terminal(width))
    return console.export_text()


def test_names_of_data_are_letters_in_every_form():
    assert NAMES.markdown().splitlines() == [
        "| field | AUC @all |",
        "| --- | ---: |",
        r"| a_b\|c\`&lt;x> | 0.9 ± 0.1 |",
        r"| \*\*d\*\* | −1 \$ |",
    ]
    assert "<td>a_b|c`&lt;x&gt;</td><td>0.9 ± 0.1</td>" in in_html(NAMES)
    assert "<td>**d**</td>" in in_html(NAMES)
    assert r"a\_b$|$c`$<$x$>$ & 0.9 $\pm$ 0.1 \\" in NAMES.latex().splitlines()
    assert r"\caption{On 5 \% \& 1}" in NAMES.latex().splitlines()
    assert list(csv.reader(io.StringIO(NAMES.csv())))[1:] == [list(row) for row in NAMES.rows]
    shown = printed(NAMES)
    assert "**d**" in shown
    assert "a_b|c`<x>" in shown
    assert "On 5 % & 1" in shown
    assert shown.splitlines()[-2:] == ["a_b|c`<x>  0.9 ± 0.1", "**d**           −1 $"]  # as wide


def test_marks_are_of_the_form():
    assert "| `dtn` | **0.91**↑ | 0.01 |" in MARKED.markdown()
    assert "<td><code>dtn</code></td><td><b>0.91</b>↑</td>" in in_html(MARKED)
    lines = MARKED.latex().splitlines()
    at = lines.index(r"dtn & \textbf{0.91}$\uparrow$ & 0.01 \\")
    assert lines[at + 1 : at + 3] == [r"\midrule", r"mmoe & 0.90 &  \\"]
    assert MARKED.csv().splitlines() == [",auc,p", "dtn,0.91↑,0.01", "mmoe,0.90,"]
    assert "dtn" in printed(MARKED)
    assert "*" not in printed(MARKED)
    assert "`" not in printed(MARKED)
