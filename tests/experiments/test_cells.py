"""How a cell of the suite `compiled` is written, and its committed list."""

import dataclasses

import pytest

from dtn_jax.errors import UserError
from experiments.suites.compiled.cells import Cell, read_cell, read_cells
from experiments.suites.compiled.listed import LIST, QUICK
from experiments.suites.compiled.topologies import CHIPS, check_topology


def test_a_cell_is_read():
    assert read_cell("v5p:4x4x4,dtn,rows=1e9,adagrad") == Cell(
        "v5p:4x4x4", "dtn", optimizer="adagrad", rows=10**9
    )
    assert read_cell("h100:64, update, E=16, bfloat16, each=512") == Cell(
        "h100:64", kind="update", dtype="bfloat16", dim=16, each=512
    )
    assert read_cell("v5e:2x4,shared_bottom,score,pmap") == Cell(
        "v5e:2x4", "shared_bottom", "score", strategy="pmap"
    )
    both = read_cells(["v5e:2x2,dtn;h100:4,dtn", "v6e:8x8,released"])
    assert [c.topology for c in both] == ["v5e:2x2", "h100:4", "v6e:8x8"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("v7:2x2,dtn", r"unknown chip 'v7'.*The choices are: v5e, v5p, v6e, h100"),
        ("v5e:4,dtn", r"expected, after v5e:, 2 sides, such as v5e:8x8"),
        ("v5p:8x8,dtn", r"3 sides, such as v5p:4x4x4"),
        ("h100:12,dtn", r"a number that divides 1024"),
        ("h100:0,dtn", r"a number that divides 1024"),
        ("h100:8,dtn,rows=5", r"rows=5; expected 23, a row for each field, to 2,147,483,647"),
        ("h100:8,dtn,rows=1e12", r"rows=1e12; expected 23"),
        ("v5e:2x2,dnt", r"unknown word of a cell 'dnt'. Did you mean 'dtn'\?.*adagrad"),
        ("v5e:2x2,dtn,row=1e9", r"unknown key of a cell 'row'. Did you mean 'rows'\?"),
        ("v5e:2x2,dtn,rows=many", r"rows=many: expected a whole number.*such as 1e7"),
        ("v5e:2x2,dtn,rows=0.5", r"rows=0.5: expected a whole number"),
        ("v5e:2x2,dtn,adam,sgd", r"'sgd' beside 'adam'; expected one of them"),
        ("v5e:2x2,rows=1e7", r"expected a model \(shared_bottom, dtn.*\) or the kind update"),
        ("v5e:2x2,dtn,update", r"expected a model .* or the kind update"),
    ],
)
def test_what_is_no_cell_is_told(text, told):
    with pytest.raises(UserError, match=told):
        read_cell(text)


def test_topologies():
    for name in ("v5e:1x1", "v5e:16x16", "v6e:8x8", "v5p:4x8x8", "h100:1", "h100:256"):
        check_topology(name)
    for chip in CHIPS.values():
        check_topology(chip.example)


def test_the_list_covers_what_it_must():
    cells = [read_cell(text) for text in (*LIST, *QUICK)]
    assert [c.name for c in cells] == [*LIST, *QUICK], "a cell's name is its shortest text"
    assert len({c.file_name for c in cells}) == len(cells)
    assert len(LIST) <= 40
    cells = cells[: len(LIST)]
    sizes = {"v5e": ("2x2", "2x4", "8x8", "16x16"), "v6e": ("8x8", "16x16")}
    sizes |= {"v5p": ("2x2x2", "4x4x4", "4x8x8", "8x8x16"), "h100": (4, 8, 64, 256, 1024)}
    named = {f"{chip}:{size}" for chip, of_chip in sizes.items() for size in of_chip}
    assert {c.topology for c in cells} == named
    for chip, rows in (("v5p", 8 * 10**8), ("h100", 5 * 10**8)):
        grown = [c for c in cells if (c.chip, c.rows) == (chip, rows)]
        assert len(grown) == 4
        assert len({dataclasses.replace(c, topology="") for c in grown}) == 1
    for chip in ("v5p", "v6e", "h100"):
        large = [c for c in cells if (c.chip, c.model, c.rows) == (chip, "dtn", 10**9)]
        assert {(c.dim, c.optimizer) for c in large} == {(64, "adam")}
        assert len(large) == 2  # 64 and 256 devices
    assert {c.model for c in cells} == {"shared_bottom", "dtn", "released", ""}
    assert {c.dim for c in cells if c.model == "dtn"} == {16, 64}
    assert {c.rows for c in cells} == {10**6, 10**7, 10**8, 5 * 10**8, 8 * 10**8, 10**9}
    assert {c.optimizer for c in cells} == {"adam", "adagrad", "sgd"}
    assert {c.kind for c in cells} == {"train", "score", "create", "update"}
    assert {c.dtype for c in cells} == {"float32", "bfloat16"}
    assert sum(c.strategy == "pmap" for c in cells) == 1
    updates = {(c.chip, c.optimizer) for c in cells if c.kind == "update"}
    assert updates == {(chip, "adam") for chip in ("v5e", "v5p", "h100")} | {("v5e", "adagrad")}


def test_a_cell_is_a_config_and_a_schema():
    cell = read_cell("h100:8,released,rows=1e8,sgd,bfloat16,E=32,pmap,each=100")
    config, schema = cell.config(8), cell.schema()
    assert config.model.experts == "gdcn+masknet+hcnet"
    assert (config.model.embedding_dim, config.model.expert_dim) == (32, 256)
    assert (config.data.batch_size, config.data.eval_batch_size) == (800, 800)
    assert (config.optim.tables, config.optim.table_dtype) == ("sgd", "bfloat16")
    assert config.parallel.strategy == "pmap"
    assert sum(schema.tables().values()) == 10**8 // 23 * 23
    small = read_cell("h100:8,small_dtn,rows=1e6").config(8)
    assert small.model.masknet.hidden == (16,)
    assert small.model.architecture == "dtn"


def test_a_cell_may_have_a_history():
    text = "v5p:2x2x2,dtn,rows=1e8,each=256,history=200,din"
    cell = read_cell(text)
    assert cell.name == text
    assert cell.config(8).model.histories == "din"
    assert read_cell("v5p:2x2x2,dtn,history=50").config(8).model.histories == ""
    seen = cell.schema().fields[-1]
    assert (seen.slots, seen.target, seen.rows) == (200, "f0", 10**8 // 23)
    with pytest.raises(UserError, match="din pools a history; give its slots, history=50"):
        read_cell("v5p:2x2x2,dtn,din")


def test_no_cell_at_all_is_told():
    with pytest.raises(UserError, match="no cell in ' ;'; expected TOPOLOGY"):
        read_cells([" ;"])
    assert read_cells([]) == ()
