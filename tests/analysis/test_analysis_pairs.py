"""Pairs of fields in GDCN's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import SCHEMA, B, D, embedded, tiny

from dtn_jax.analysis import pairs
from dtn_jax.metrics.auc import auc

QUICK = {"model__gdcn__layers": 1, "parallel__devices": 1}  # quick to compile


@pytest.fixture(scope="module")
def gated():
    with jax.enable_x64(True):
        yield tiny("mmoe")


def test_pair_terms_are_those_of_a_loop(gated):
    found = pairs.pair_strengths(gated.passes)
    assert list(found) == ["shared/gdcn_0"]
    x, own = embedded(gated)[:, 0], gated.state.params["shared"]["gdcn_0"]
    W, V = (np.asarray(own[f"{name}_0"]["kernel"]) for name in ("cross", "gate"))
    gate = 1 / (1 + np.exp(-x.reshape(B, -1) @ V)).reshape(B, 4, D)
    away = x - x.mean(axis=0)
    got = found["shared/gdcn_0"]
    for f, g in ((0, 1), (1, 3), (2, 0)):
        blocks = [W[a * D : (a + 1) * D, b * D : (b + 1) * D] for a, b in ((f, g), (g, f))]
        norm = np.sqrt(sum((block**2).sum() for block in blocks))
        terms = [
            away[:, b] * (away[:, a] @ w) * gate[:, b]
            for (a, b), w in zip(((f, g), (g, f)), blocks)
        ]
        term = np.sqrt(sum((t**2).sum() for t in terms) / B)
        assert got.strengths["norm"][f, g] == pytest.approx(norm, rel=1e-9)
        assert got.strengths["term"][f, g] == pytest.approx(term, rel=1e-9)
        assert got.strengths["term"][g, f] == got.strengths["term"][f, g]
    np.testing.assert_allclose(got.gates, gate.mean(axis=(0, 2)), rtol=1e-9)


def test_only_layers_that_read_the_fields_have_pairs():
    kernels = {"kernel": jnp.zeros((12, 12))}
    deeper = {"cross_0": {"kernel": jnp.zeros((5, 5))}}
    params = {
        "a": {"gdcn_0": {"cross_0": kernels, "cross_1": kernels}, "dcnv2_0": {"cross_0": kernels}},
        "level_1_a": {"gdcn_0": deeper},
    }
    assert pairs.gdcn_experts(params, 12) == ["a/gdcn_0"]


def test_pairs_are_read_through_views_and_normalisation():
    """Of `stem`, whose groups read tables of their own, and with layer normalisation."""
    with jax.enable_x64(True):
        model = tiny("stem", model__normalisation="layer", model__experts="gdcn", **QUICK)
        experts = pairs.gdcn_experts(model.state.params, 4 * D)
        assert set(experts) == {f"level_0_{g}/gdcn_0" for g in (*SCHEMA.task_names, "shared")}
        run = model.run
        inputs = pairs.make_inputs(run.model, run.plan, experts, run.at.table_mesh)
        read = model.passes.map(inputs)
        click, shared = (read[f"level_0_{group}/gdcn_0"] for group in ("click", "shared"))
    assert np.abs(click - shared).max() > 0.1
    flat = click.reshape(B, -1)
    np.testing.assert_allclose(flat.mean(axis=1), 0, atol=1e-6)


def test_how_well_known_pairs_are_found():
    fields = ("a", "b", "c", "d")
    strengths = np.zeros((4, 4))
    for (i, j), value in {(0, 1): 3, (2, 3): 2, (0, 2): 1}.items():
        strengths[i, j] = strengths[j, i] = value
    found = pairs.found_pairs(strengths, fields, [("b", "a"), ("a", "c")])
    upper = strengths[np.triu_indices(4, 1)]
    assert found == {"auc": auc(upper, np.array([1, 1, 0, 0, 0, 0])), "known": 2, "found": 1}
    nothing = pairs.found_pairs(strengths, fields, [])
    assert nothing == {"auc": None, "known": 0, "found": 0}
