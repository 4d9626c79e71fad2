"""Names that would do harm, through every form of a table and through a search's report."""

import html.parser
import io
import json
import re

import pytest
import rich.console
from invented_tables import found
from studies_in_memory import in_memory

from dtn_jax.analysis import markdown as importance
from dtn_jax.report import screen
from dtn_jax.report.markdown import MARKED
from experiments.search import sweep_report
from experiments.tables import latex, markdown, report, terminal

HOSTILE = "<i>$x_|[red]&lt;{}^~%#"  # as task, space and entry


@pytest.fixture
def made():
    """A table whose entries, tasks and spaces have such names."""
    text = json.dumps(found({"dtn": 0.7, "mmoe": 0.6}))
    for name in ("mmoe", "order", "click"):
        text = text.replace(name, f"{name}{HOSTILE}")
    return json.loads(text)


class Tags(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.words = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)

    def handle_data(self, data):
        self.words.append(data)


def test_html(made):
    tags = Tags(report.section(made, []))
    assert "i" not in tags.found
    assert f"mmoe{HOSTILE}" in tags.words


def test_markdown(made):
    text = markdown.markdown(made, ["overall_auc.png"])
    outside = "".join(MARKED.split(text)[::2])
    assert "&lt;i>" in outside
    assert "&amp;lt;" in outside
    assert not re.search(r"<i>|(?<!amp;)lt;", outside.replace("&lt;i>", ""))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    headers = [i for i, row in enumerate(rows) if set(row) <= set("|-: ")]
    for i in headers:
        assert bars[i - 1] == bars[i] == bars[i + 1]


def test_latex(made):
    text = latex.latex(made)
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))
    for line in text.splitlines():
        assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0, line


def test_terminal(made, capsys):
    for table in terminal.tables(made, 300):
        screen.show(table)
    assert "mmoe<i>$x_|[red]" in capsys.readouterr().out


def test_a_search(monkeypatch):
    console = rich.console.Console(file=io.StringIO(), width=300, markup=False)
    monkeypatch.setattr(screen, "console", lambda: console)
    study = in_memory(1)
    with sweep_report.live(study) as show:
        study.run_one(lambda trial: 0 * study.claim(trial, {"model.experts": "[/red]"}) + 0.5)
        show()
    assert "model.experts=[/red]" in console.file.getvalue()


def test_an_importance():
    gates = {"relations": {HOSTILE: {"own": 1.0}}, "effective": {"relations": {}}}
    gates["evenness"] = {HOSTILE: 0.5}
    text = importance.table(*importance.gate_rows(gates))
    assert r"&lt;i>\$x\_\|[red]&amp;lt;{}^\~%#" in text
