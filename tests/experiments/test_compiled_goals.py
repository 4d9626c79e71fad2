"""What is wanted of compiled programs, of figures that are given."""

import pytest
from compiled_records import record
from hlo_texts import GPU, TPU

from experiments.suites.compiled.cells import read_cell
from experiments.suites.compiled.figures import COLUMNS, read_figures
from experiments.suites.compiled.goals import goals


def test_goals():
    names = ("v5e:2x4,shared_bottom,rows=1e7", "v5e:8x8,update,rows=1e9", "h100:64,update,rows=1e9")
    cells = [read_cell(name) for name in names]
    rows = [read_figures(cell, record(), GPU if cell.chip == "h100" else TPU) for cell in cells]
    found = {goal.name: goal for goal in goals(cells, rows)}
    assert found["TPUs, training and scoring: whole tables copied"].got == 4
    assert found["TPUs, training and scoring: passes over whole tables"].got == 2
    assert found["H100s, training and scoring: whole tables copied"].got == 1
    assert found["H100s, training: scatters of repeated rows"].met
    assert found["held, compiled over plan: largest error"].got == pytest.approx(0.01)
    assert found["v5e:8x8,update,rows=1e9: peak MB"].got == 1200
    assert found["h100:64,update,rows=1e9: peak over held"].got == pytest.approx(1.188, abs=1e-3)
    assert not any("initialisation" in name for name in found)


def test_goals_of_the_exchange():
    cells = [read_cell(f"h100:{n},shared_bottom,rows=1e9") for n in (8, 64, 256, 1024)]
    figures = {
        "error": None,
        "of its memory": 0.5,
        "peak over held": 1.2,
        "plan over peak": 1.1,
        "carried over plan": 0.985,
        "longest sort over received": 1.0,
    }
    row = dict.fromkeys(COLUMNS) | figures
    sizes = [(8, 10.0, 2.0), (64, 12.0, 0.3), (256, 18.0, 0.2), (1024, 25.0, 0.1)]
    rows = [
        row | {"devices": n, "padded MB a step": padded, "largest over batch": share}
        for n, padded, share in sizes
    ]
    found = {goal.name: goal for goal in goals(cells, rows)}
    name = "h100,shared_bottom,rows=1e9: padded bytes a device, {} devices over 8"
    assert (found[name.format(256)].got, found[name.format(256)].met) == (1.8, False)
    assert (found[name.format(1024)].got, found[name.format(1024)].met) == (2.5, True)
    assert found["largest collective over the batch's rows, from 64 devices on"].got == 0.3
    assert found["longest sort over what a device receives"].met
    assert found["carried, compiled over plan: largest error"].got == pytest.approx(0.015)
    assert found["planned over compiled peak: smallest"].met
    assert found["planned over compiled peak: largest"].met
    assert found["h100:256,shared_bottom,rows=1e9: peak over held"].met
    rows[0] |= {"plan over peak": 0.9}
    assert not {g.name: g for g in goals(cells, rows)}["planned over compiled peak: smallest"].met
