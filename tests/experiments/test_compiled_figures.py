"""The suite `compiled` without its compilers: figures of given texts, goals, what it resumes."""

import dataclasses
import json
import os
import stat
import sys

import pytest
from compiled_records import ROWS, record
from hlo_texts import GPU, TPU

from dtn_jax.errors import UserError
from experiments.suites.compiled import suite
from experiments.suites.compiled.cells import read_cell
from experiments.suites.compiled.figures import read_figures
from experiments.suites.compiled.goals import goals
from experiments.suites.measured import Options


def test_the_figures_of_a_tpu():
    row = read_figures(read_cell("v5e:2x4,shared_bottom,rows=1e7"), record(), TPU)
    assert row["peak MB"] == 1200
    assert row["of its memory"] == pytest.approx(1.2 / (15.75 * 1.073741824))
    assert (row["held MB"], row["temporaries MB"], row["new outputs MB"]) == (1010, 200, 0.5)
    assert row["held over plan"] == 1.01
    assert row["plan over peak"] == pytest.approx(1.4 / 1.2)
    assert (row["copies a step"], row["copies a chunk"], row["passes a step"]) == (1, 1, 1)
    assert row["copied MB a step"] == ROWS * 512 / 1e6  # padded to 128 lanes
    assert row["on chip MB a step"] == pytest.approx(1221 * 1024 * 4 / 1e6)
    # Column-major tables are not padded; counts are, to 1024.
    assert row["stored over logical"] == pytest.approx(1, abs=1e-4)
    assert row["carried MB a step"] == (896 * 128 + (188_416 + 189_440) * 256) / 1e6
    assert row["largest collective MB"] == 189_440 * 512 / 1e6
    assert row["largest over batch"] == pytest.approx(189_440 * 2 / 94_208)
    assert row["carried MB a further round"] == 0
    assert (row["scatters"], row["repeated scatters"], row["f64"]) == (1, 0, 0)
    assert row["carried over plan"] == pytest.approx(row["carried MB a step"] / 100)
    assert row["GB accessed"] is None
    assert "1 copy f32[1250048,64]{1,0} a chunk" in row["whole"]
    assert "collective-permute 0.115 MB as 0.229 a step" in row["collectives"]


def test_short_tables_have_columns_of_their_own():
    row = read_figures(read_cell("v5e:2x4,shared_bottom,rows=1e7"), record(ids=700_000), TPU)
    assert (row["copies a step"], row["short copies a step"], row["short copies a chunk"]) == (
        0,
        1,
        1,
    )
    assert (row["passes a step"], row["short passes a step"]) == (0, 1)


def test_scoring_is_one_step_and_takes_no_slots():
    cell = read_cell("h100:8,shared_bottom,score,rows=1e7")
    found = record(plan=None)
    del found["plan"]
    row = read_figures(cell, found, GPU)
    assert (row["copies a step"], row["passes a step"], row["passes a chunk"]) == (1, 1, 0)
    assert row["stored over logical"] == 1
    assert "a call" in row["whole"]
    assert row["held over plan"] is None


def test_what_must_not_be_in_a_program_is_counted():
    bad = GPU.replace(
        "%tuple.105 =",
        '%c = f64[8]{0} custom-call(%x), custom_call_target="xla_python_gpu_callback"\n'
        "  %o = token[] outfeed(%x), outfeed_config=x\n  %tuple.105 =",
    ).replace("unique_indices=true, ", "")
    row = read_figures(read_cell("h100:8,shared_bottom,rows=1e7"), record(), bad)
    assert (row["f64"], row["host calls"]) == (1, 2)
    assert (row["repeated scatters"], row["repeated float scatters"]) == (1, 1)
    row = read_figures(read_cell("h100:8,shared_bottom,rows=1e7"), record(), GPU)
    assert (row["f64"], row["host calls"], row["repeated scatters"]) == (0, 0, 0)


def test_out_of_memory_is_a_result():
    cell = read_cell("v5e:8x8,dtn,rows=1e9")
    error = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (33.70G) exceeds available HBM (15.75G)."
    )
    row = read_figures(cell, record(error=error), "")
    held, temporaries = ROWS * 260, 33.70 * 2**30
    assert row["temporaries MB"] == pytest.approx(temporaries / 1e6)
    assert row["peak MB"] == pytest.approx((held + temporaries) / 1e6)
    assert row["of its memory"] == pytest.approx((held + temporaries) / (15.75 * 2**30))
    assert row["peak over held"] == pytest.approx(1 + temporaries / held)
    assert row["error"] == error
    assert [(g.name, g.met) for g in goals([cell], [row])] == [
        ("programs that do not compile or fit their chip", False),
        ("v5e:8x8,dtn,rows=1e9: peak over held", False),
    ]
    row = read_figures(cell, record(error="INTERNAL: no"), "")
    assert (row["error"], row["peak MB"]) == ("INTERNAL: no", None)
    assert goals([cell], [row])[0].got == 1


def test_collectives_of_a_loop_within_the_step_are_of_further_rounds():
    cell = read_cell("h100:8,shared_bottom,rows=1e7")
    plain = read_figures(cell, record(), GPU)
    assert plain["carried MB a further round"] == 0
    inner = GPU.replace(
        "  ROOT %tuple.107 =",
        "  %while.9 = (s32[], f32[1250048,64]{1,0}) while(%t), condition=%condition, body=%inner\n"
        "  ROOT %tuple.107 =",
    ).replace(
        "%condition (param.15",
        "%inner (param.9: (s32[], f32[8])) -> (s32[], f32[8]) {\n"
        "  %all-to-all.9 = f32[500,64]{1,0} all-to-all(%x), replica_groups=[1,8]<=[8]\n"
        "  %s = (s32[300000]{0}, s32[300000]{0}) sort(%a, %b), dimensions={0}, to_apply=%c\n"
        "  ROOT %t.9 = (s32[], f32[8]{0}) tuple(%p, %q)\n}\n\n%condition (param.15",
    )
    row = read_figures(cell, record(), inner)
    assert row["carried MB a further round"] == 500 * 256 / 1e6
    assert row["carried MB a step"] == plain["carried MB a step"]
    assert "all-to-all 0.128 MB a further round" in row["collectives"]
    assert (row["longest sort"], row["received"]) == (300_000, 200_000)
    assert row["longest sort over received"] == 1.5
    library = inner.replace(" sort(%a, %b)", ' custom-call(%a), custom_call_target="__cub$Sort"')
    assert read_figures(cell, record(), library)["longest sort"] == 300_000


FAKE = """#!{python}
import gzip, json, os, sys
cell, folder = sys.argv[3:]
if "rows=33" in cell:
    sys.exit("something broke")
name = cell.replace(":", "_").replace(",", "_")
record = json.loads({record!r}) | {{"versions": {{"jax": os.environ["JAX_PLATFORMS"]}}}}
open(f"{{folder}}/{{name}}.json", "w").write(json.dumps(record))
gzip.open(f"{{folder}}/{{name}}.hlo.gz", "wt").write({text!r})
open(f"{{folder}}/../../calls", "a").write(cell + "\\n")
"""


@pytest.fixture
def compilers(tmp_path):
    """A virtual environment whose Python only writes what a compilation would."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE.format(python=sys.executable, record=json.dumps(record()), text=GPU))
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    packages = tmp_path / "venv/lib/python3.11/site-packages"
    for name in suite.COMPILERS:
        (packages / f"{name.replace('-', '_')}-1.0.dist-info").mkdir(parents=True)
    return tmp_path / "venv"


def test_what_is_compiled_is_kept_and_failures_are_told(compilers, monkeypatch, tmp_path):
    cells = ("h100:8,dtn,rows=1e6;h100:8,dtn,rows=1e7", "h100:8,dtn,rows=33")
    monkeypatch.setattr(suite, "LIST", ";".join(cells).split(";"))
    options = Options(compiled_venv=str(compilers), out=str(tmp_path))
    found = suite.measure(options)
    first, second, third = found.rows
    assert first["peak MB"] == 1200
    assert third["error"] == "something broke"
    assert found.notes[-1] == "Compiled by jax cpu."
    assert set(found.shown) <= set(first)
    assert first.keys() == second.keys() == third.keys()
    with pytest.raises(UserError, match="h100:8,dtn,rows=33: something broke"):
        suite.measure(dataclasses.replace(options, cells=cells))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sorted(calls) == ["h100:8,dtn,rows=1e6", "h100:8,dtn,rows=1e7"]
    monkeypatch.setattr(suite, "DECIDING", ())  # other code: what it made is compiled anew
    suite.measure(options)
    assert len((tmp_path / "calls").read_text().splitlines()) == 4
    assert len(list((tmp_path / "compiled_cells").iterdir())) == 1


def test_without_compilers_it_says_how_to_get_them(compilers, monkeypatch, tmp_path):
    monkeypatch.setenv(suite.VENV_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"none has no virtual environment: run `make compiled`"):
        suite.measure(Options(out=str(tmp_path)))
    monkeypatch.setenv(suite.VENV_VARIABLE, str(compilers))
    assert suite.find_python("") == os.path.join(compilers, "bin", "python")
    (compilers / "lib/python3.11/site-packages/libtpu-1.0.dist-info").rmdir()
    with pytest.raises(UserError, match="venv lacks libtpu, of the extra `compiled`"):
        suite.find_python("")
    with pytest.raises(UserError, match="--compiled_venv=FOLDER"):
        suite.find_python(str(tmp_path / "other"))
