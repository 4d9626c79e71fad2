"""Narrower tables, some of the tasks, and several members."""

import jax.numpy as jnp
import numpy as np
import pytest
from drawn_models import batch, drawn, exported
from safetensors.numpy import load_file

from dtn_jax.export.write.described import with_tasks
from dtn_jax.export.write.program import export_program
from dtn_jax.export.write.weights import WeightsFile, quantised, side_by_side
from dtn_jax.schema import Field, Schema, Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("dtype", ["int8", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_narrower_tables_are_the_nearest_numbers(path, dtype):
    model = drawn(experts="mlp+hcnet")
    logits, weights = exported(model.forward(dtype), [model], path)
    tables = {}
    for name, rows in model.plan.used.items():
        stored, table = weights[f"tables/{name}"], np.asarray(model.state.tables[name])
        lie = model.plan.arrays[name]
        exact = lie.to_rows(table)
        assert stored.dtype == jnp.dtype(dtype)
        got = stored.astype(np.float32)
        if dtype == "int8":
            scale = weights[f"tables/{name}.scale"]
            got = got * scale
            error = np.abs(exact[:rows] - got) / scale
            assert 0.45 < error.max() < 0.5001
        else:
            error = np.abs(got / exact[:rows] - 1)
            assert 2**-10 < error.max() <= 2**-8
        tables[name] = lie.to_lines(np.concatenate([got, exact[rows:]]))
    given = batch(50)
    narrow = model._replace(state=model.state.replace(tables=tables)).expected(given)
    np.testing.assert_allclose(logits(given), narrow, rtol=0, atol=1e-6)
    assert np.abs(model.expected(given) - narrow).max() > 1e-4


def test_a_row_of_zeros_stays_zero():
    rows = np.array([[[0, 0], [-3e-38, 1e-38], [1, -254]]], np.float32)
    steps, scales = quantised(rows)
    np.testing.assert_array_equal(steps[0, [0, 2]], [[0, 0], [0, -127]])  # 0.5 is rounded to even
    assert scales[0, 0] == 0
    assert np.isfinite(scales).all()


def test_an_ensemble_gives_the_mean_probability(path):
    members = [drawn(experts="mlp", seed=seed) for seed in range(3)]
    forward = members[0].forward(members=3)
    logits, weights = exported(forward, members, path)
    assert weights["tables/embedding"].shape == (forward.plan.used["embedding"], 3 * 4)
    given = batch(40)
    each = np.stack([member.expected(given) for member in members]).astype(np.float64)
    mean = (1 / (1 + np.exp(-each))).mean(axis=0)
    expected = np.log(mean) - np.log1p(-mean)
    expected[:, 2] = each[:, :, 2].mean(axis=0)  # a regression
    np.testing.assert_allclose(logits(given), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_ensemble_of_int8_tables_is_that_of_its_members(path, tmp_path):
    members = [drawn(experts="hcnet", seed=seed) for seed in range(2)]
    alone = [exported(m.forward("int8"), [m], tmp_path / "one")[0] for m in members]
    logits, _ = exported(members[0].forward("int8", members=2), members, path)
    given = batch(40)
    mean = np.mean([1 / (1 + np.exp(-f(given)[:, 0].astype(np.float64))) for f in alone], axis=0)
    np.testing.assert_allclose(logits(given)[:, 0], np.log(mean / (1 - mean)), atol=1e-5)


def test_some_tasks_leave_out_what_they_do_not_need(path):
    model = drawn("shared_bottom", experts="mlp")
    logits, weights = exported(model.forward(tasks=("click",)), [model], path)
    given = batch(20)
    np.testing.assert_allclose(logits(given), model.expected(given)[:, :1], rtol=0, atol=1e-6)
    every = export_program(model.forward())[1]
    left_out = {name for name in every if "tower_order" in name or "tower_stars" in name}
    assert left_out
    assert set(weights) == set(every) - left_out


def test_tasks_come_with_those_that_they_need():
    schema = Schema(
        "graph",
        (Field("user"),),
        (
            Task("like"),
            Task("order", space="cart", also_report=("click",)),
            Task("stars", "regression", upstream=("like",)),
            Task("cart", space="click", upstream=("click",)),
            Task("click"),
        ),
    )
    assert with_tasks(schema, ()) == schema
    assert with_tasks(schema, ["order"]).task_names == ("order", "cart", "click")
    assert with_tasks(schema, ["stars"]).task_names == ("like", "stars")
    assert with_tasks(schema, ["click"]).task_names == ("click",)


def test_members_are_cut_alike():
    one = [np.arange(6.0).reshape(3, 2), np.ones((2, 2))]
    other = [np.zeros((1, 2)), np.zeros((0, 2)), np.zeros((4, 2))]
    found = list(side_by_side([one, other]))
    assert [piece.shape for piece in found] == [(2, 1, 2), (2, 2, 2), (2, 2, 2)]
    np.testing.assert_array_equal(
        np.concatenate(found, axis=1)[0], np.concatenate(one).astype(np.float32)
    )
    with pytest.raises(ValueError, match="other numbers of rows"):
        list(side_by_side([one, other[:1]]))


def test_an_array_that_is_not_whole_is_an_error(path):
    from jax import ShapeDtypeStruct

    file = WeightsFile(path, {"a": ShapeDtypeStruct((3, 2), np.float32)})
    file.write("a", np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="other rows"):
        file.close()
    file = WeightsFile(path, {"a": ShapeDtypeStruct((3, 2), np.float32)})
    with pytest.raises(ValueError, match="expected float32"):
        file.write("a", np.ones((2, 2)))
    file.write("a", np.ones((3, 2), np.float32))
    file.close()
    assert load_file(path)["a"].shape == (3, 2)
