"""The rows of the paper's tables, and the levels of `divergence`."""

import dataclasses

import numpy as np
import pytest
from invented_runs import TINY

from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures
from dtn_jax.models.flops import Size
from dtn_jax.papertables.entries import (
    NEAR,
    TABLES,
    ablation,
    interactions,
    matched,
    named,
    off,
    sensitivity,
)
from dtn_jax.papertables.protocol import Dial, Entry, configured, entry, load
from dtn_jax.papertables.runs import Runs
from dtn_jax.places import protocols
from dtn_jax.schema import Field, Schema, Task

pytest_plugins = ["table_fixtures"]


CENSUS = load(protocols()["census_income"])


FUNNEL = Schema(
    "s", (Field("f", rows=5),), (Task("click"), Task("order", upstream=("click",), space="click"))
)


FLAT = Schema("s", (Field("f", rows=5),), (Task("a"), Task("b"), Task("c")))


def straight(entry):
    """A size that is a straight line in the width."""
    width = entry.settings.get("model.mlp.hidden", (100,))[0]
    slope = 1 + len(entry.tuned_as)
    return Size(1000 + 10 * slope * width, 500 + 7 * slope * width)


def test_tsn_is_left_out_only_where_there_is_one():
    names = [e.name for e in ablation(TINY, FUNNEL, straight)]
    only = {"without TSN", "gradient to TSN's probabilities"}
    assert set(names) - {e.name for e in ablation(TINY, FLAT, straight)} == only
    assert names[0] == "dtn"
    assert {"gdcn alone", "masknet alone", "hcnet alone", "mlp alone, as large"} < set(names)
    assert {"embeddings of each task's own", "no gradient to others' groups"} < set(names)


@pytest.mark.parametrize("name", ["ablation", "matched"])
def test_matched_entries_are_as_large(name):
    protocol = CENSUS
    entries = TABLES[name](protocol, FLAT, straight)
    wanted = straight(entries[0])
    sized = [e for e in entries if "as large" in e.name or "equal" in e.name]
    tuned_as = {e.tuned_as for e in sized}
    others = {*protocol.entries} - {"dtn", "dtn, paper"}  # which has no MLP to widen
    assert tuned_as == ({"dtn"} if name == "ablation" else others)
    for e in sized:
        step = 10 * (1 + len(e.tuned_as))  # that one more of the width makes
        if "equal FLOPs" not in e.name:
            assert straight(e).parameters == pytest.approx(wanted.parameters, abs=step)
        if name == "matched" and "equal parameters" not in e.name:
            assert straight(e)[1] == pytest.approx(wanted[1], abs=step, rel=NEAR)


def test_where_no_width_gives_both_sizes_there_is_a_row_for_each():
    def size(entry):
        width = entry.settings.get("model.mlp.hidden", (100,))[0]
        return Size(1_000 * width, (900 if entry.tuned_as == "shared_bottom" else 1_000) * width)

    entries = matched(TINY, FLAT, size)
    names = ["dtn", "shared_bottom, equal parameters", "shared_bottom, equal FLOPs"]
    assert [e.name for e in entries] == names
    assert size(entries[1]).parameters == 100_000
    assert size(entries[2]).flops_per_example == pytest.approx(100_000, rel=NEAR)


def test_interactions_compare_routings_of_the_same_experts():
    entries = interactions(CENSUS, FLAT, straight)
    assert len(entries) == 20
    for e in entries:
        assert e.against == f"dtn, {'mlp' if e.tuned_as == 'dtn' else e.at}"
        config = configured(CENSUS, entry(e.tuned_as, "mlp"), e.settings)
        levels = architectures.layout(config.model, FLAT)
        experts = [kind for level in levels for group in level.values() for kind in group]
        assert experts == [e.at] * 4  # in all groups and levels together


def test_sensitivity_to_an_expert_has_that_expert():
    sizes = {"model.hcnet.codebook_rows": (1_000, 10_000), "model.dcnv2.layers": (1, 2)}
    entries = sensitivity(dataclasses.replace(CENSUS, sensitivity=sizes), FLAT, straight)
    hcnet = [e for e in entries if e.group == "hcnet.codebook_rows"]
    assert {e.settings["model.experts"] for e in hcnet} == {"masknet+dcnv2+mlp+hcnet"}
    dcnv2 = [e for e in entries if e.group == "dcnv2.layers"]
    assert all("model.experts" not in e.settings for e in dcnv2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("dtn,mmoe", ["dtn", "mmoe"]),
        ("dtn;mmoe", ["dtn", "mmoe"]),
        ("mmoe, gdcn", ["mmoe, gdcn"]),
        ("dtn,mmoe, gdcn ,mlp.hidden = (64, 32)", ["dtn", "mmoe, gdcn", "mlp.hidden = (64, 32)"]),
        ("mmoe;dtn, gdcn", ["mmoe", "dtn, gdcn"]),
    ],
)
def test_names_with_commas_can_be_named(text, wanted):
    known = ["dtn", "mmoe", "dtn, gdcn", "mmoe, gdcn", "mlp.hidden = (64, 32)"]
    assert named(text, known) == wanted


def test_any_entry_may_be_the_one_that_others_are_tested_against():
    entries = {
        "mine": {"model.architecture": "mmoe"},  # with the config's experts
        "dtn": entry("dtn", "mlp"),
    }
    protocol = dataclasses.replace(TINY, entries=entries, ours="mine")
    names = {table: [e.name for e in make(protocol, FUNNEL, straight)]
             for table, make in TABLES.items() if table != "divergence"}  # fmt: skip
    assert names["overall"] == ["mine", "dtn"]
    assert "batch normalisation" in names["ablation"]
    assert not {"without TSN", "without the shared group"} & set(names["ablation"])  # DTN's
    assert {e.against for e in interactions(protocol, FUNNEL, straight)} == {"mine, mlp"}
    assert names["matched"][0] == names["sensitivity"][0] == "mine"
    assert all(e.tuned_as == "mine" for e in sensitivity(protocol, FUNNEL, straight))


FEW = dataclasses.replace(
    TINY,
    config="configs/synthetic.py",
    common=TINY.common | {"data.options": "rows=1000,divergence=0.5"},
    dials=(Dial("divergence", (0, 0.5, 1)),),
)


def test_a_level_is_of_the_protocols_data_with_one_dial_turned():
    dials = (Dial("divergence", (0, 1)), Dial("rows", (2000,), ("dtn",), {"divergence": 1}))
    made = TABLES["divergence"](dataclasses.replace(FEW, dials=dials), None, None)
    entries = {e.name: e for e in made}
    assert len(entries) == 2 * 2 + 1
    one = entries["dtn, rows = 2000, divergence = 1"]
    assert (one.group, one.at, one.tuned_as) == ("rows, divergence = 1", "2000", "dtn")
    assert one.settings == {"data.options": "rows=2000,divergence=1"}
    assert entries["shared_bottom, divergence = 1"].against == "dtn, divergence = 1"
    with pytest.raises(UserError, match="the protocol has no `dials`"):
        TABLES["divergence"](TINY, None, None)


@pytest.mark.slow
def test_each_run_is_of_its_own_data(call, untrained):
    made = call(table="divergence", protocol=FEW)
    assert [row["at"] for row in made["rows"]] == ["0", "0", "0.5", "0.5", "1", "1"]
    assert made["missing"] == {}
    best = {row["at"]: row["best"]["order@all"] for row in made["rows"]}
    assert len(set(best.values())) == 3
    again = call(table="divergence", protocol=FEW)
    assert again["rows"] == made["rows"]
    for row in made["rows"]:
        gap = row["best"]["order@all"] - 0.8 - np.array([0.001, 0.002])
        assert row["metrics"]["order@all"]["gap"] == pytest.approx(gap)


@pytest.mark.slow
def test_a_quick_table_is_of_one_level(call, untrained):
    made = call("--quick", table="divergence", protocol=FEW, folder="adult-shortened")
    assert {row["name"] for row in made["rows"]} == {
        "dtn, divergence = 0.5",
        "shared_bottom, divergence = 0.5",
    }
    assert made["shortened"]


@pytest.mark.slow
def test_the_shipped_entries_have_equal_flops(prepared_dir, tmp_path):
    protocol = load(protocols()["divergence"])
    protocol = dataclasses.replace(protocol, common=protocol.common | {"data.options": "rows=1000"})
    places = {"data.data_dir": str(prepared_dir)}
    runs = Runs(protocol, tmp_path, places)
    sizes = {name: runs.size(Entry(name, name)) for name in protocol.entries}
    away = {n: off(size, sizes["dtn"], "flops_per_example") for n, size in sizes.items()}
    assert {name for name, share in away.items() if share > NEAR} == set()
