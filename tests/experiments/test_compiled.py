"""Programs compiled for TPUs and H100s: the small part of the suite `compiled`.

It needs the compilers, which `make compiled` installs; see COMPILED_VENV in the Makefile.
"""

import json

import pytest

from dtn_jax.errors import UserError
from experiments import benchmark
from experiments.suites.compiled import suite
from experiments.suites.compiled.cells import read_cell
from experiments.suites.compiled.figures import read_figures

pytestmark = pytest.mark.slow

# Of so many rows that no table is short beside the ids of a step.
CELLS = (
    "v5e:2x2,shared_bottom,rows=1e7,each=256",
    "v5e:2x2,small_dtn,rows=1e7,each=256",
    "h100:8,shared_bottom,rows=1e7,each=256",
    "h100:8,small_dtn,rows=1e7,each=256",
)


@pytest.fixture(scope="module")
def python():
    try:
        return suite.find_python("")
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rows(python, tmp_path_factory):
    """Cell to figures."""
    cells = [read_cell(text) for text in CELLS]
    made = suite.compile_all(python, cells, tmp_path_factory.mktemp("cells"))
    return {cell.name: read_figures(cell, *one) for cell, one in zip(cells, made)}


@pytest.mark.parametrize("cell", CELLS)
def test_the_training_step_compiles(rows, cell):
    row = rows[cell]
    assert not row["error"]
    assert row["of its memory"] < 0.15
    assert (row["f64"], row["host calls"]) == (0, 0)
    assert row["new outputs MB"] < 0.1, "the state is not updated in place"
    assert row["held over plan"] == pytest.approx(1, abs=0.01)
    assert row["carried over plan"] == pytest.approx(1, abs=0.02)
    assert 1 <= row["plan over peak"] <= 1.3
    assert row["longest sort"] <= row["received"]
    assert row["stored over logical"] < 1.02


@pytest.mark.parametrize("cell", CELLS)
def test_tables_are_updated_in_place(rows, cell):
    row = rows[cell]
    assert row["copies a step"] == row["copies a chunk"] == 0, row["whole"]
    assert row["passes a step"] == row["passes a chunk"] == 0, row["whole"]
    assert row["short copies a step"] == row["short passes a step"] == 0, row["whole"]
    assert row["repeated scatters"] == 0


def test_the_suite_compiled_runs(python, tmp_path):
    benchmark.main(["--suite=compiled", "--quick", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "compiled.json").read_text())
    (row,) = found["rows"]
    assert row["peak MB"] > row["held MB"] > 0
    assert all(goal["got"] == 0 for goal in found["goals"] if goal["name"].startswith("f64"))
