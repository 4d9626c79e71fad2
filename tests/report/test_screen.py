"""What is printed: names with brackets as they are, and nothing printed past the one console."""

import ast
import io
import pathlib

import pytest
import rich.console
import rich.table

from dtn_jax.report import screen, terminal
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.report.trace import heaviest
from dtn_jax.schema import Field, Schema, Task
from experiments.tables import terminal as tables
from experiments.tables.text import Text

ROOT = pathlib.Path(__file__).parents[2]
NAME = "[red]a[/x][/]:smile:"
# What of Rich prints or reads markup by itself.
PAST = ("print", "get_console", "markup", "Console", "TextColumn", "reconfigure", "inspect")
LIVE = ("rich.progress.Progress", "rich.live.Live", "rich.status.Status")


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


def test_what_is_said(shown):
    screen.say(f"in {NAME}", style="bold")
    screen.say((NAME, "bold"), f": {NAME}")
    assert shown() == f"in {NAME}\n{NAME}: {NAME}\n"


def test_a_long_line_is_not_cut(shown):
    screen.say("x" * 1000)
    assert shown() == "x" * 1000 + "\n"


def test_tables_and_bars_of_hostile_names(shown):
    task = "[red]a[bold]"  # a task's name has no '/'
    schema = Schema(NAME, (Field(NAME, rows=2),), (Task(task),))
    splits = {NAME: {f"{task}@all": {"auc": 0.5, "log_loss": 0.6}}}
    screen.show(terminal.splits_table(splits, schema, NAME))
    screen.show(heaviest([], NAME))
    screen.show(tables.as_rich(Text(NAME, (NAME, NAME), ((NAME, NAME),))))
    assert shown().count(NAME) == 8
    assert f"{task}@all" in shown()
    with ProgressBar(10, 1, console=screen.console(), interactive=True) as bar:
        bar.update(step=5, epoch=0, losses={NAME: 0.5}, examples=10)
    assert NAME in shown().splitlines()[-1]


def strays(path):
    """Lines that print past the seam, or make what reads markup."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rich":
            yield node.lineno
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        past = called.startswith("rich.") and set(called.split(".")) & set(PAST)
        live = called in LIVE and "console" not in {word.arg for word in node.keywords}
        if past or live:
            yield node.lineno


def test_no_module_prints_past_the_console():
    found = {}
    for package in ("dtn_jax", "experiments", "configs"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "screen.py" and (lines := list(strays(path))):
                found[path.relative_to(ROOT).as_posix()] = lines
    assert not found, f"use dtn_jax.report.screen: {found}"


def test_a_stray_is_found(tmp_path):
    path = tmp_path / "m.py"
    for line in (
        "rich.print('x')",
        "rich.get_console().print('x')",
        "from rich import print",
        "rich.progress.Progress()",
        "rich.progress.TextColumn('x')",
        "rich.console.Console()",
    ):
        path.write_text(line)
        assert set(strays(path)) == {1}, line
    path.write_text("def f(to: rich.console.Console | None): rich.progress.Progress(console=to)")
    assert not list(strays(path))
