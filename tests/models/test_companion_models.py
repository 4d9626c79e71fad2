"""What stands beside a history's items is added to their rows, whatever pools them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from companion_batches import BESIDE, READ, SCHEMA, SLOTS, batch, pooled_by
from toy_steps import build, config

from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs
from dtn_jax.models import build as architectures
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.histories.with_histories import ways
from dtn_jax.tables import lookup
from dtn_jax.tables.plan import make_plan

POOLS = {
    "mean": lambda x: x.mean(axis=0),
    "sum": lambda x: x.sum(axis=0),
    "max": lambda x: x.max(axis=0),
}


def tables_of(plan):
    """Random packed arrays, whose last row, of padding, is zeros."""
    rng, found = np.random.default_rng(1), {}
    for name, lie in plan.arrays.items():
        found[name] = rng.normal(size=(lie.rows + 1, lie.width))
        found[name][-1] = 0
    return found


def inputs_of(plan, b, tables=None):
    """Looked-up rows, as the model is given them."""
    b = jax.tree.map(jnp.asarray, b)
    tables = tables_of(plan) if tables is None else tables
    rows = lookup.row_ids(plan, b)
    return lookup.to_inputs(plan, {n: jnp.asarray(tables[n])[ids] for n, ids in rows.items()}, b)


def items_of(plan, b, row, history):
    """`[length, D]`: of one row the sums of an item's row and its companions', item by item."""
    table, offsets = tables_of(plan)["embedding"], plan.offsets[0]
    own, found = range(*SLOTS[history].indices(99)), []
    for place, slot in enumerate(own):
        if b.ids[row, slot] >= 0 and b.row_mask[row]:
            slots = [slot, *(SLOTS[name].start + place for name in BESIDE[history])]
            found.append(sum(table[offsets[s] + b.ids[row, s]] for s in slots))
    return np.asarray(found).reshape(-1, plan.dim)


@pytest.mark.parametrize("pooling", POOLS)
def test_a_field_pools_the_sums_of_rows(pooling):
    with jax.enable_x64(True):
        schema = pooled_by(pooling)
        _, plan = build(config(), schema)
        b = batch()
        got = np.asarray(inputs_of(plan, b).fields["shared"])
    assert got.shape == (len(b.ids), len(READ), plan.dim)
    table, offsets = tables_of(plan)["embedding"], plan.offsets[0]
    for r in range(len(b.ids)):
        for f, name in enumerate(READ):
            if name in BESIDE:
                items = items_of(plan, b, r, name)
                expected = POOLS[pooling](items) if len(items) else np.zeros(plan.dim)
            else:
                slot = {"user": 0, "item": 11, "hour": 22}[name]
                expected = b.row_mask[r] * table[offsets[slot] + b.ids[r, slot]]
            np.testing.assert_allclose(got[r, f], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("way", HISTORIES)
def test_what_the_item_at_hand_pools_are_the_sums_of_rows(way, random_variables):
    """Histories that are pooled by hand from NumPy's sums give the model's outputs."""
    with jax.enable_x64(True):
        c = config(
            model__architecture="dtn", model__dtype="float64", model__histories=way,
            model__experts="mlp+hcnet",
        )  # fmt: skip
        model, plan = build(c, SCHEMA)
        b = batch(16)
        inputs = inputs_of(plan, b)
        variables = random_variables(model, inputs, train=False)
        got = jax.jit(lambda v, i: model.apply(v, i, train=False))(variables, inputs)
        params = dict(variables["params"])
        own, vectors = params.pop("histories_shared"), np.array(inputs.fields["shared"])
        for name in BESIDE:
            most = SLOTS[name].stop - SLOTS[name].start
            items, present = np.zeros((16, most, plan.dim)), np.zeros((16, most), bool)
            for r in range(16):
                found = items_of(plan, b, r, name)
                items[r, : len(found)], present[r, : len(found)] = found, True
            target = inputs.fields["shared"][:, READ.index("item")]
            vectors[:, READ.index(name)] = HISTORIES[way](dtype=jnp.float64).apply(
                {"params": own[name]}, target, jnp.asarray(items), jnp.asarray(present), False
            )
        c.model.histories = ""
        expected = architectures.build(c.model, SCHEMA).apply(
            {**variables, "params": params},
            Inputs({"shared": jnp.asarray(vectors)}, inputs.codewords, inputs.row_mask),
            train=False,
        )
    for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("way", ["", *HISTORIES])
def test_what_stands_beside_padding_changes_nothing(way, random_variables):
    with jax.enable_x64(True):
        model, plan = build(config(model__dtype="float64", model__histories=way), SCHEMA)
        b = batch(16)
        inputs = inputs_of(plan, b)
        variables = random_variables(model, inputs, train=False)
        apply = jax.jit(lambda b: model.apply(variables, inputs_of(plan, b), train=False).logits)
        ids, rng = b.ids.copy(), np.random.default_rng(2)
        for history, beside in BESIDE.items():
            for name in beside:
                wild = rng.integers(0, 5, ids[:, SLOTS[name]].shape)
                padding = b.ids[:, SLOTS[history]] < 0
                ids[:, SLOTS[name]] = np.where(padding, wild, ids[:, SLOTS[name]])
        assert (ids != b.ids).any()
        plain = apply(b)
        for got, expected in zip(apply(b.replace(ids=ids)).values(), plain.values(), strict=True):
            np.testing.assert_array_equal(got[:-1], expected[:-1])
        # and what stands beside items does
        moved = b.ids.copy()
        for name in ("gap", "action", "last_action"):
            there = moved[:, SLOTS[name]] >= 0
            moved[:, SLOTS[name]] = np.where(there, (moved[:, SLOTS[name]] + 1) % 6, -1)
            assert np.abs(apply(b.replace(ids=moved))["click"] - plain["click"]).max() > 1e-4


@pytest.mark.parametrize("way", ["", "din"])
def test_gradients_reach_the_companions_rows_of_items_that_are_there(way, random_variables):
    with jax.enable_x64(True):
        model, plan = build(config(model__dtype="float64", model__histories=way), SCHEMA)
        b = batch(16)
        variables = random_variables(model, inputs_of(plan, b), train=False)

        def total(tables):
            out = model.apply(variables, inputs_of(plan, b, tables), train=False)
            return sum(logit.sum() for logit in out.logits.values())

        slopes = jax.jit(jax.grad(total))(jax.tree.map(jnp.asarray, tables_of(plan)))
    moved = (np.asarray(slopes["embedding"]) != 0).any(axis=1)
    rows = {f.name: f.rows for f in SCHEMA.fields}
    for name, fields in {"gap": ("gap",), "action": ("action", "last_action")}.items():
        ids = np.concatenate([b.ids[:-1, SLOTS[f]].reshape(-1) for f in fields])
        start = plan.offsets[0][SLOTS[name].start]
        assert len(np.unique(ids)) > 3
        np.testing.assert_array_equal(
            np.flatnonzero(moved[start : start + rows[name]]), np.unique(ids[ids >= 0])
        )


def test_a_model_sees_a_history_and_its_companions_as_one_field():
    assert SCHEMA.read_names == READ
    assert ways("bst", SCHEMA) == dict.fromkeys(BESIDE, "bst")
    with pytest.raises(
        UserError, match=r"unknown sequence field .* 'gap'\. .* viewed, last, bought"
    ):
        ways("gap=din", SCHEMA)
    c = config(model__experts="hcnet")
    plan = make_plan(SCHEMA, c.model, ("shared",), 1)
    assert plan.codebook_slots == (0, 11, 12, 22)  # user, item, last and hour: not last_action
    c.model.hcnet.fields = ("hour", "last_action")
    with pytest.raises(UserError, match=r"unknown field in model\.hcnet\.fields 'last_action'"):
        make_plan(SCHEMA, c.model, ("shared",), 1)
