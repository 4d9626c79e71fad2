"""Training steps compiled for TPUs and H100s: memory, copies of tables, exchange."""

import pytest
from compile_cell import VENV, compiled, read_cell

from dtn_jax import plan

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (VENV / "bin/python").exists(), reason="needs `make compiled`"),
]
CELLS = (
    "v5e:2x2,shared_bottom,score",
    "v5e:2x2,shared_bottom,bfloat16",
    "v5e:2x2,shared_bottom,E=16",
    "v5p:2x2x2,shared_bottom,rows=8e8",
    "v5p:4x4x4,shared_bottom,rows=8e8",
    "v5p:4x4x4,dtn,rows=1e9",
    "v6e:8x8,dtn,rows=1e9,adagrad",
    "h100:8,shared_bottom,rows=5e8",
    "h100:64,shared_bottom,rows=5e8",
    "h100:64,dtn,rows=1e9",
    "h100:64,released,rows=1e8",
    "h100:8,dtn,E=16,sgd",
    "v5p:2x2x2,rankmixer,rows=1e8",
    "h100:8,infnet,rows=1e8",
)
PLANNED = ("dtn,rows", "rankmixer", "infnet")  # parts of the names of cells whose plan is checked
ROOM = 1.25  # peak over held, of tables of 10^9 rows
GROWTH = 1.4  # padded bytes that a device exchanges, 64 devices over 8
cells = pytest.mark.parametrize("cell", CELLS)


@pytest.fixture(scope="module")
def figures():
    """(cell) -> what was compiled of it, once."""
    kept = {}

    def read(cell):
        if cell not in kept:
            kept[cell] = compiled(cell)
        return kept[cell]

    return read


@cells
def test_a_step_compiles_and_fits(figures, cell):
    found = figures(cell)
    assert found["of its memory"] < 1
    assert (found["f64"], found["host calls"]) == (0, 0)
    assert found["stored over logical"] < 1.02 or "released" in cell
    if "score" not in cell:
        assert found["new outputs MB"] < 0.1, "the state is not updated in place"
    if "rows=1e9" in cell:
        assert found["peak MB"] / found["held MB"] < ROOM


@cells
def test_tables_are_updated_in_place(figures, cell):
    found = figures(cell)
    assert not found["copies"]
    assert not found["passes"]
    assert found["repeated scatters"] == 0 or "score" in cell


@cells
def test_a_device_exchanges_and_sorts_its_own_rows_alone(figures, cell):
    found = figures(cell)
    assert found["longest sort"] <= found["received"]
    if found["devices"] >= 64:
        assert found["largest MB"] < found["batch's rows MB"]


@pytest.mark.parametrize("few", [cell for cell in CELLS if "=8e8" in cell or "=5e8" in cell][::2])
def test_the_exchange_hardly_grows_with_the_devices(figures, few):
    many = few.replace("2x2x2", "4x4x4").replace(":8", ":64")
    assert many != few
    assert figures(many)["padded MB"] < GROWTH * figures(few)["padded MB"]


@pytest.mark.parametrize("cell", [cell for cell in CELLS if any(p in cell for p in PLANNED)])
def test_the_plan_is_near_the_compilers(figures, cell):
    found, (config, schema, _) = figures(cell), read_cell(cell)
    device = plan.DEVICES[cell.partition(":")[0]]
    planned = plan.extrapolate(config, schema, device.platform, base=4)
    assert planned.held(found["devices"]) / 1e6 == pytest.approx(found["peak MB"], rel=0.15)
    assert planned.sent(found["devices"]) / 1e6 == pytest.approx(found["sent MB"], rel=0.15)
