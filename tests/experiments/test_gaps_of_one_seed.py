"""A table `divergence` of one level and one seed, as of --quick: whole, but nothing is tested."""

import dataclasses

from levels_of_a_dial import PROTOCOL, found

from experiments.tables import markdown as table_markdown
from experiments.tables import plots
from experiments.tables.terminal import notes as terminal_notes
from experiments.tables.terminal import tables as terminal_tables

FIRST = dataclasses.replace(PROTOCOL.dials[0], values=(0.5,))
ONE = dataclasses.replace(PROTOCOL, dials=(FIRST,), cut=("1 of 3 seeds",))


def test_it_is_written_drawn_and_shown_without_a_claim(tmp_path):
    made = found(lambda model, at: 0.02 + 0.01 * (model != "dtn"), ONE, seeds=(1,))
    drawn = plots.draw(made, tmp_path / "divergence")
    page = table_markdown.markdown(made, [path.name for path in drawn])
    assert "| `dtn` | **20.0** |" in page
    assert "| `mmoe` | 30.0 |" in page
    assert "95 % interval" not in page
    assert terminal_tables(made, 120)
    assert made["sentences"] == []
    assert not any("surely" in note or "is ahead" in note for note in terminal_notes(made))


def test_a_shortened_table_of_several_seeds_claims_nothing():
    assert found(lambda model, at: 0.02 + 0.01 * (model != "dtn"), ONE)["sentences"] == []


def test_single_seeds_claim_nothing_in_full_either():
    made = found(lambda model, at: 0.02 + 0.01 * (model != "dtn"), PROTOCOL, seeds=(1,))
    assert made["sentences"] == []
    assert "95 % interval" not in table_markdown.markdown(made, [])
