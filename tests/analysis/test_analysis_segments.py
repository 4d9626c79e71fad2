"""Segments of rows, by value and by group."""

import jax
import numpy as np
import pytest
from tiny_runs import SCHEMA, B, rows, tiny

from dtn_jax.analysis import gate_figures, inside
from dtn_jax.analysis import segments as segments_module
from dtn_jax.analysis.sample import Sample
from dtn_jax.analysis.segments import default_segment, described, names, segments
from dtn_jax.datasets.preparation.encoders import QuantileBuckets, Vocabulary
from dtn_jax.errors import UserError
from dtn_jax.schema import Field, Schema, Task


@pytest.fixture(scope="module")
def gated():
    with jax.enable_x64(True):
        yield tiny("mmoe")


def test_segments_by_value_are_the_most_frequent_ones_by_name(monkeypatch):
    monkeypatch.setattr(segments_module, "FEWEST", 1)
    ids = np.repeat(np.arange(12), np.arange(12, 0, -1)).astype(np.int32)[:, None]
    count = len(ids)
    batch = rows(count=count).replace(ids=ids)
    schema = Schema("x", [Field("plan", rows=12)], [Task("click")])
    encoder = Vocabulary(values=tuple(f"plan {i}" for i in range(1, 12)))
    sample = Sample("validation", batch, None)
    assert default_segment(schema) == "plan"
    found = segments(sample, schema, {"plan": encoder}, "plan")
    assert list(found) == ["unknown", *(f"plan {i}" for i in range(1, 8)), "4 rarer values"]
    assert found["plan 3"].sum() == 9
    assert sum(mask.sum() for mask in found.values()) == count
    with pytest.raises(UserError, match=r"unknown segment 'plam'\. Did you mean 'plan'"):
        segments(sample, schema, {}, "plam")
    with pytest.raises(UserError, match="unknown segment 'group'"):
        segments(sample, schema, {}, "group")
    assert list(segments(sample, schema, {}, "plan"))[:2] == ["unknown", "id 1"]
    for fewest, shown in {
        7: ["unknown", *(f"plan {i}" for i in range(1, 6)), "6 rarer values"],  # 12 to 7, and 21
        12: ["unknown", "11 rarer values"],
        13: [],  # not all rows as one
    }.items():
        monkeypatch.setattr(segments_module, "FEWEST", fewest)
        found = segments(sample, schema, {"plan": encoder}, "plan")
        assert list(found) == shown
        assert all(mask.sum() >= fewest for mask in found.values())


def test_segments_of_too_few_rows_are_left_out_and_the_others_say_how_many_they_have(
    gated, tmp_path, monkeypatch
):
    """Of 90 rows, 89 have the first value."""
    monkeypatch.setattr(segments_module, "FEWEST", 2)
    batch = gated.rows.replace(ids=np.where(np.arange(B) < 89, 1, 2)[:, None] + 0 * gated.rows.ids)
    parts = segments(Sample("validation", batch, None), SCHEMA, {}, "item")
    drawn = []
    monkeypatch.setattr(gate_figures, "gates", lambda *given: drawn.extend(given[2]))
    facts = inside.gate_facts(gated.passes, "item", parts, tmp_path)
    assert drawn == ["id 1 (89)"]
    assert {name: own["rows"] for name, own in facts["segments"].items()} == {"id 1": 89}


def test_segments_by_group_are_its_activity(monkeypatch):
    monkeypatch.setattr(segments_module, "FEWEST", 5)
    group = np.repeat([7, 8, 9, 3], [1, 2, 5, 12])
    schema = Schema("x", [Field("plan", rows=12)], [Task("click")], group="user")
    assert default_segment(schema) == "group"
    found = segments(Sample("test", rows(count=20), group), schema, {}, "group")
    assert list(found) == ["1 to 5 rows", "12 rows"]
    np.testing.assert_array_equal(found["12 rows"], group == 3)
    monkeypatch.setattr(segments_module, "FEWEST", 9)
    assert list(segments(Sample("test", rows(count=20), group), schema, {}, "group")) == ["12 rows"]
    assert described("group") == "rows of its group"
    assert described("plan") == "plan"


def test_names_of_quantile_buckets_are_their_spans():
    encoder = QuantileBuckets(dominating=(0.0,), edges=(1.5, 3.0))
    assert names(encoder) == {0: "unknown", 1: "0", 2: "below 1.5", 3: "1.5 to 3", 4: "from 3"}
    assert names(QuantileBuckets(dominating=(2.0,), edges=())) == {0: "unknown", 1: "2", 2: "other"}
    assert names(None) == {0: "unknown"}
