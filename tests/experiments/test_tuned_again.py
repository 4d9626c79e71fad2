"""Entries that were tuned twice, as a table shows them; and what a row keeps of its config."""

import pytest
from invented_tables import found
from matplotlib.colors import to_hex

from experiments.tables import plots
from experiments.tables.content import beyond_defaults
from experiments.tables.notes import footnotes


@pytest.fixture
def table():
    made = found({"dtn": 0.7, "mmoe": 0.71, "ple": 0.72})
    made["rows"][2]["name"] = "dtn, tuned again"
    return made


def test_the_note_tells_whether_tuning_was_done_once(table):
    assert "do not cover tuning: rows `tuned again` show what it adds" in " ".join(footnotes(table))
    table["rows"][2]["name"] = "ple"
    assert "do not cover tuning, which was done once" in " ".join(footnotes(table))
    table["tuning"]["dtn"] |= {"run": 10, "examples": 60, "trials": 8}
    table["tuning"]["dtn"]["transfer"] = {"from": "mmoe", "examples": 20}
    told = "do not cover tuning, nor that rows could take settings from elsewhere"
    assert told in " ".join(footnotes(table))


def test_the_second_tuning_has_the_firsts_marker_hollow(table):
    (axes,) = plots.cost(table).axes
    first, other, again = (bars.lines[0] for bars in axes.containers)
    assert again.get_marker() == first.get_marker() != other.get_marker()
    assert again.get_color() == first.get_color() != other.get_color()
    filled = [line.get_markerfacecolor() == line.get_color() for line in (first, other, again)]
    assert filled == [True, True, False]
    assert to_hex(again.get_markerfacecolor()) == "#ffffff"


def test_a_row_keeps_what_is_not_at_its_default():
    config = {"seed": "3", "optim.learning_rate": "0.002", "optim.schedule": "constant"}
    assert beyond_defaults(config) == {"optim.learning_rate": "0.002"}
