"""What is printed and written: a table in each form, names of any letters, and the progress."""

import csv
import html.parser
import io
import re
from unittest import mock

import markdown_it
import pytest
import rich.console
import rich.table
from console_text import as_shown

from dtn_jax.data import progress as data_progress
from dtn_jax.report import screen
from dtn_jax.report.grid import LATEX, Grid, in_latex
from dtn_jax.report.markdown import escaped, one_line
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.report.sections import Section, marked, page

NAMES = [
    "<script>alert(1)</script>",
    "a|b",
    "[x](http://y)",
    "&lt;b&gt;",
    "two\nlines",
    "$x^{2}_~%&#\\{}$",
    "$\\frac{",
    "a|b\\|c\\",
    "![z](u) [w]: http://v www.x.y",
    "**a** *b* __c__ _d_ `e` a*b*c ~~f~~",
    "# h",
    "> q\x1b[2J",
]
MARKDOWN = markdown_it.MarkdownIt("commonmark").enable("table").enable("strikethrough")


def read(text, kind):
    """[its parts, as (type, text)] of each token of a kind that has text in it."""
    tokens = MARKDOWN.parse(text)
    inside = [t.children for i, t in enumerate(tokens) if i and tokens[i - 1].type == kind]
    return [[(child.type, child.content) for child in children] for children in inside]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text(name):
    assert read(escaped(name), "paragraph_open") == [[("text", one_line(name))]]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_keeps_its_cells(name):
    made = Grid([name, "x"], [[name, "1"], ["y", name]]).markdown()
    assert made.split("\n")[1] == "| --- | ---: |"
    own = [("text", one_line(name))]
    header = [("text", one_line(name.replace("\n", " ")))]
    assert read(made, "th_open") == [header, [("text", "x")]]
    assert read(made, "td_open") == [own, [("text", "1")], [("text", "y")], own]


@pytest.mark.parametrize("name", NAMES)
def test_latex_has_no_bare_sign(name):
    found = in_latex(name)
    for known in set(LATEX.values()):
        found = found.replace(known, "")
    assert not set(found) & set("$&%#_{}~^\\\n<>|")


@pytest.mark.parametrize("name", NAMES)
def test_html_has_no_tag_of_a_name(name):
    class Tags(html.parser.HTMLParser):
        found = ()

        def handle_starttag(self, tag, attributes):
            self.found += (tag,)

    parser = Tags()
    parser.feed(marked(f"`{name}` **{name}** {name}"))
    assert set(parser.found) <= {"code", "b"}


# ---------------------------------------------------------------- the terminal


NAME = "[red]a[/x][/]:smile:"


def test_the_console_reads_no_markup(capsys):
    screen.console().print(NAME)
    table = rich.table.Table(NAME, title=f"title {NAME}", caption=f"caption {NAME}")
    table.add_row(f"cell {NAME}")
    screen.show(table)
    assert capsys.readouterr().out.count(NAME) == 5


# ---------------------------------------------------------------- progress


def progress_bar(console, *given, **options):
    with mock.patch.object(screen, "console", return_value=console):
        return ProgressBar(*given, **options)


def progress_output(updates, *, seconds=1.0, start_step=0, **given):
    """What Progress writes for `updates` updates of 10 steps and 1000 examples each."""
    now = 1000.0
    console = rich.console.Console(file=io.StringIO(), width=80, get_time=lambda: now)
    total = start_step + 10 * updates
    with progress_bar(console, total, 2, start_step, **given) as progress:
        for i in range(updates):
            now += seconds
            step = start_step + 10 * (i + 1)
            losses = {"click": 0.5 / (i + 1), "order": 0.25}
            progress.update(step=step, epoch=2 * i // updates, losses=losses, examples=1000)
    return console.file.getvalue()


def test_progress_without_a_terminal_is_plain_lines_every_ten_seconds():
    output = progress_output(40)
    assert "\x1b" not in output
    assert "\r" not in output
    lines = output.splitlines()
    # updates at 1, 2, ... 40 s: lines at 1, 11, 21, 31 and the last one at 40
    steps = [int(re.search(r"step (\d+)/400", line)[1]) for line in lines]
    assert steps == [10, 110, 210, 310, 400]
    assert lines[0].startswith("epoch 1/2 | step 10/400 | loss click 0.5000  order 0.2500")
    # 10 steps and 1000 examples a second; 400 - 110 steps are left
    assert "1,000 examples/s" in lines[1]
    assert lines[1].endswith("0:00:29 left")
    assert lines[-1].startswith("epoch 2/2")
    assert "left" not in lines[-1]
    lines = progress_output(40, start_step=100_000, may_stop=True).splitlines()  # a resumed run
    assert "step 100110/100400" in lines[1]
    assert "1,000 examples/s" in lines[1]
    assert lines[1].endswith("0:00:29 left at most")


def test_the_time_left_counts_pauses_but_the_first_and_waits_for_a_steady_rate():
    """Epochs of 150 s, then a validation: the first one, which compiles, of 300 s, others of 50."""
    now = 1000.0
    console = rich.console.Console(file=io.StringIO(), width=80, get_time=lambda: now)
    with progress_bar(console, 1000, 10) as progress:
        for step in range(10, 410, 10):
            progress.update(step=step, epoch=(step - 1) // 100, losses={}, examples=1000)
            now += 15 + (300 if step == 100 else 50 * (step % 100 == 0))
    lines = console.file.getvalue().splitlines()
    matches = [re.search(r"step (\d+)/.*\| (\d):(\d\d):(\d\d) left", line) for line in lines]
    left = {int(m[1]): 3600 * int(m[2]) + 60 * int(m[3]) + int(m[4]) for m in matches if m}
    assert not {10, 110} & left.keys()
    assert left[100] == 90 * 15
    assert left[120] == 88 * 15
    assert left[390] == pytest.approx((28 * 15 + 2 * 50) / 28 * 61, abs=1)


def test_prepare_tells_the_time_left_of_a_pass_once_it_is_known(monkeypatch):
    now = 1000.0
    console = rich.console.Console(file=io.StringIO(), get_time=lambda: now)
    monkeypatch.setattr(data_progress, "QUIET_SECONDS", 0)
    with mock.patch.object(screen, "console", return_value=console), data_progress.Rows() as rows:
        for _ in rows.count([1] * 20, "rows cleaned", 200, rows=lambda _: 10):
            now += 1
    lines = console.file.getvalue().splitlines()
    left = [line.partition("rows/s")[2] for line in lines]
    assert not any(left[:9])
    assert left[9:12] == [f", 0:00:{n} left of this pass" for n in (10, "09", "08")]


# One table in each of its forms: the same cells, no letter of a name read as a sign.


CELLS = Grid(("field", "AUC\n@all"), [("a_b|c`<x>", "0.9 ± 0.1"), ("**d**", "−1 $")], "On 5 % & 1")
MARKED = Grid(
    ("", "auc", "p"),
    [("`dtn`", "**0.91**↑", "0.01"), ("`mmoe`", "0.90", "")],
    rules=[1],
    marked=True,
)


def in_html(grid):
    return page("", [Section("", grids=[grid])])


def printed(grid, width=0):
    return as_shown(grid.terminal(width), width=200, markup=False)


def test_names_of_data_are_letters_in_csv_and_in_the_terminal():
    assert r"\caption{On 5 \% \& 1}" in CELLS.latex().splitlines()
    assert list(csv.reader(io.StringIO(CELLS.csv())))[1:] == [list(row) for row in CELLS.rows]
    shown = printed(CELLS)
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
