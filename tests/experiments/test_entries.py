"""The rows of the paper's tables."""

import dataclasses
import pathlib

import pytest
from untrained_tables import TINY

from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures
from dtn_jax.models.experts import EXPERTS
from dtn_jax.models.flops import Size
from dtn_jax.schema import Field, Schema, Task
from experiments.tables.entries import (
    NEAR,
    TABLES,
    ablation,
    interactions,
    matched,
    named,
    sensitivity,
)
from experiments.tables.protocol import configured, entry
from experiments.tables.protocol_files import check, load, shipped

CENSUS = load(shipped()["census_income"])
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
    assert tuned_as == ({"dtn"} if name == "ablation" else set(protocol.entries) - {"dtn"})
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


def test_matched_finds_a_curve_too():
    def bent(entry):
        width = entry.settings.get("model.mlp.hidden", (100,))[0]
        return Size(3 * width**2 + 50 * width, width)

    found = matched(TINY, FLAT, lambda e: bent(e) if e.tuned_as != "dtn" else Size(1_000_000, 1))
    (own,) = [e for e in found if "equal parameters" in e.name]
    assert bent(own).parameters == pytest.approx(1_000_000, rel=0.05)


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


def test_interactions_are_of_the_protocols_kinds(monkeypatch):
    """Not of all that there are: one more expert changes no table that was made before."""
    before = interactions(CENSUS, FLAT, straight)
    monkeypatch.setitem(EXPERTS, "new", EXPERTS["mlp"])
    assert interactions(CENSUS, FLAT, straight) == before
    mine = dataclasses.replace(CENSUS, kinds=("mlp", "new"))
    assert {e.at for e in interactions(mine, FLAT, straight)} == {"mlp", "new"}
    with pytest.raises(UserError, match=r"unknown expert in kinds 'mpl'. Did you mean 'mlp'"):
        check(dataclasses.replace(CENSUS, kinds=("mpl",)))
    with pytest.raises(UserError, match="kinds has no mlp"):
        check(dataclasses.replace(CENSUS, kinds=("gdcn",)))


@pytest.mark.parametrize("key", ["model.ple.levels", "loss.focal.gamma", "train.log_every"])
def test_sensitivity_to_what_ours_does_not_have_is_refused(key):
    protocol = dataclasses.replace(CENSUS, sensitivity={key: (3, 4)})
    with pytest.raises(UserError, match=f"sensitivity: {key} changes nothing in dtn"):
        sensitivity(protocol, FLAT, straight)


@pytest.mark.parametrize(
    ("option", "own", "experts"),
    [
        ("model.heads.count", {"model.architecture": "heads", "model.experts": "mlp"}, None),
        ("model.product.power", {"model.experts": "mlp"}, "mlp+product"),
        ("loss.hinge.margin", {"loss.tasks": "income=hinge"}, None),
    ],
)
def test_sensitivity_to_an_option_of_a_plug_in(option, own, experts, unload):
    """It brings the expert whose option it is."""
    plugin = pathlib.Path(__file__).parents[1] / "plugin.py"
    protocol = dataclasses.replace(
        CENSUS, entries={"dtn": own}, common={"plugins": plugin}, sensitivity={option: (1, 2)}
    )
    (_, *rows) = sensitivity(protocol, FLAT, straight)
    assert [row.settings[option] for row in rows] == [1, 2]
    assert {row.settings.get("model.experts") for row in rows} == {experts}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("dtn,mmoe", ["dtn", "mmoe"]),
        ("dtn;mmoe", ["dtn", "mmoe"]),
        ("mmoe, gdcn", ["mmoe, gdcn"]),
        ("dtn, mmoe,gdcn ,mlp.hidden = (64, 32)", ["dtn", "mmoe, gdcn", "mlp.hidden = (64, 32)"]),
        ("mmoe;dtn, gdcn", ["mmoe", "dtn, gdcn"]),
    ],
)
def test_names_with_commas_can_be_named(text, wanted):
    known = ["dtn", "mmoe", "dtn, gdcn", "mmoe, gdcn", "mlp.hidden = (64, 32)"]
    assert named(text, known) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtn,pel", r"unknown entry 'pel'. Did you mean 'ple'\?"),
        ("dtn,ple, gdcm", r"unknown entry 'ple, gdcm'. Did you mean 'ple, gdcn'\?"),
    ],
)
def test_an_unknown_name_is_told(text, message):
    with pytest.raises(UserError, match=message):
        named(text, ["dtn", "ple", "ple, gdcn"] if "gdcm" not in text else ["dtn", "ple, gdcn"])


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


def test_entries_can_be_made_equal_by_a_single_number():
    protocol = dataclasses.replace(TINY, width="model.expert_dim")

    def size(e):
        width = e.settings.get("model.expert_dim", 30 if e.tuned_as == "dtn" else 8)
        return Size(10 * width, 7 * width)

    (_, *others) = matched(protocol, FLAT, size)
    assert {e.settings["model.expert_dim"] for e in others} == {30}
