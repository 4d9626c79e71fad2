"""The exported program gives the logits of the training code's scoring step."""

import number_batches
import numpy as np
import pytest
from drawn_models import ALL_EXPERTS, batch, drawn, exported

from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS, parse_experts

pytestmark = pytest.mark.usefixtures("quick_to_compile")

CASES = [
    ("dtn", {}),
    ("dtn", {"model__fusion": "released", "model__normalisation": "batch"}),
    ("stem", {"optim__table_dtype": "bfloat16"}),  # two views and more
    ("dtn", {"model__dtn__own_embeddings": True}),
    ("mmoe", {"model__dtype": "bfloat16", "model__normalisation": "layer"}),
    *((name, {"model__normalisation": "batch"}) for name in sorted(ARCHITECTURES)),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def test_logits_are_those_of_the_scoring_step(path):
    model = drawn(experts="mlp+hcnet")
    logits, _ = exported(model.forward(), [model], path)
    for size in (1, 3):
        given = batch(size, seed=size)
        np.testing.assert_allclose(logits(given), model.expected(given), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("architecture", "dtype"), [("dtn", "float32"), ("stem", "bfloat16")])
def test_embedded_numbers_go_with_it(path, architecture, dtype):
    """Piecewise linear, periodic and AutoDis, of all views; missing numbers too."""
    schema = number_batches.SCHEMA
    model = drawn(architecture, "mlp", schema=schema, model__dtype=dtype)
    logits, weights = exported(model.forward(), [model], path)
    given = batch(50, schema=schema)
    expected = model.expected(given)
    np.testing.assert_allclose(logits(given), expected, rtol=0, atol=1e-6)
    assert {name.split("/")[2] for name in weights if "/numbers_" in name} >= {"price", "hours"}
    for slot, number, place in number_batches.PLACES.values():
        numeric = given.numeric.copy()
        numeric[:, number] += 1
        moved = np.abs(logits(given.replace(numeric=numeric)) - expected).max(axis=1) > 0
        known = given.ids[:, slot] == 1
        assert moved[known].any()
        assert schema.fields[place].embedded != moved[~known].any()  # or the value scales row 0


def test_the_matrix_has_all_experts():
    assert set(parse_experts(ALL_EXPERTS)) == set(EXPERTS)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "changes"), CASES)
def test_all_architectures_with_all_experts(path, architecture, changes):
    model = drawn(architecture, **changes)
    logits, _ = exported(model.forward(), [model], path)
    given = batch(1000)
    expected = model.expected(given)
    assert expected.std(axis=0).min() > 0.01
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(logits(given), expected, rtol=0, atol=1e-6 * scale)
