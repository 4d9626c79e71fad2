"""What is printed and written: names of any letters as they are, and the progress of training."""

import html.parser
import io
import re

import markdown_it
import pytest
import rich.console
import rich.table
from matplotlib.figure import Figure

from dtn_jax.report import pictures, screen, terminal
from dtn_jax.report.grid import LATEX, Grid, in_latex
from dtn_jax.report.markdown import escaped, one_line, prose, table
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.report.sections import marked
from dtn_jax.schema import Field, Schema, Task

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
    made = table([name, "x"], [[name, "1"], ["y", name]])
    assert made.split("\n")[1] == "| --- | ---: |"
    own = [("text", one_line(name))]
    assert read(made, "th_open") == [own, [("text", "x")]]
    assert read(made, "td_open") == [own, [("text", "1")], [("text", "y")], own]


def test_what_is_no_sign_stays():
    for text in ("p < 0.05 & [red] a_b", "`a<b>|c`", "**bold** `--config.x='a b'`", "[-0.1, 0.2]"):
        assert prose(text) == text


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


@pytest.mark.parametrize("name", NAMES[5:7])
def test_a_picture_of_any_name_can_be_drawn(name):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 10], [1, 1000], label=name)
    axes.set_title(name)
    axes.set_yscale("log")
    pictures.powers(axes.yaxis)
    axes.set_xticks([1, 10], [name, name])
    axes.legend()
    assert pictures.png(figure)
    assert not axes.title.get_parse_math()
    assert not any("$" in label.get_text() for label in axes.get_yticklabels())


# ---------------------------------------------------------------- the terminal


NAME = "[red]a[/x][/]:smile:"
# What of Rich prints or reads markup by itself.


@pytest.fixture
def shown(monkeypatch):
    """What was printed, on a wide screen."""
    file = io.StringIO()
    console = rich.console.Console(file=file, width=300, markup=False, emoji=False)
    monkeypatch.setattr(screen, "console", lambda: console)
    return file.getvalue


def test_the_console_reads_no_markup(capsys):
    screen.console().print(NAME)
    table = rich.table.Table(NAME, title=f"title {NAME}", caption=f"caption {NAME}")
    table.add_row(f"cell {NAME}")
    screen.show(table)
    assert capsys.readouterr().out.count(NAME) == 5


def test_tables_and_bars_of_hostile_names(shown):
    task = "[red]a[bold]"  # a task's name has no '/'
    schema = Schema(NAME, (Field(NAME, rows=2),), (Task(task),))
    splits = {NAME: {f"{task}@all": {"auc": 0.5, "log_loss": 0.6}}}
    screen.show(terminal.splits_table(splits, schema, NAME))
    screen.show(Grid((NAME, NAME), [(NAME, NAME)], NAME).terminal())
    assert shown().count(NAME) == 7
    assert f"{task}@all" in shown()
    with ProgressBar(10, 1, console=screen.console()) as bar:
        bar.update(step=5, epoch=0, losses={NAME: 0.5}, examples=10)
    assert NAME in shown().splitlines()[-1]


# ---------------------------------------------------------------- progress


def progress_output(updates, *, seconds=1.0, start_step=0, **given):
    """What Progress writes for `updates` updates of 10 steps and 1000 examples each."""
    now = 1000.0
    console = rich.console.Console(file=io.StringIO(), width=80, get_time=lambda: now)
    total = start_step + 10 * updates
    with ProgressBar(total, 2, start_step, console=console, **given) as progress:
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


def test_progress_leaves_the_terminal_in_order_after_an_error():
    console = rich.console.Console(file=io.StringIO(), force_terminal=True)
    with (
        pytest.raises(RuntimeError, match="stop"),
        ProgressBar(10, 1, console=console),
    ):
        raise RuntimeError("stop")
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again


def test_the_progress_bar_says_what_is_done_between_two_steps():
    console = rich.console.Console(file=io.StringIO(), width=80, get_time=lambda: 1000.0)
    with ProgressBar(100, 1, console=console) as bar:
        bar.tell("scoring 2022-04-08")
        bar.tell("scoring 2022-04-09")  # at once: no line of its own
        bar.update(step=100, epoch=0, losses={"click": 0.5})
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "scoring 2022-04-08 | step 0/100"
    assert lines[1:] == ["epoch 1/1 | step 100/100 | loss click 0.5000"]
    console = rich.console.Console(file=io.StringIO(), width=80, force_terminal=True)
    with ProgressBar(100, 1, console=console) as bar:
        bar.tell("scoring 2022-04-08")
    assert "scoring 2022-04-08" in console.file.getvalue()
