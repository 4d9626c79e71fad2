"""Fields with embedded numbers: in every architecture and view, with missing and masked values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from number_batches import EMBEDDINGS, PLACES, PLAIN, SCHEMA, batch
from toy_steps import build, config

from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs
from dtn_jax.models import build as architectures
from dtn_jax.models import flops
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.models.numbers.with_numbers import WithNumbers
from dtn_jax.models.vectors import WithVectors
from dtn_jax.schema import Field
from dtn_jax.state import example_inputs
from dtn_jax.tables import lookup
from dtn_jax.tables.plan import make_plan

pytestmark = pytest.mark.usefixtures("quick_to_compile")

D, AGE = 4, "age/years 1.0"


def inputs_of(plan, b, seed=1):
    """Looked-up rows of a random table, as the model is given them."""
    b = jax.tree.map(jnp.asarray, b)
    rng = np.random.default_rng(seed)
    gathered = {}
    for name, ids in lookup.row_ids(plan, b).items():
        table = rng.normal(size=(plan.arrays[name].rows + 1, plan.arrays[name].width))
        table[-1] = 0  # of padding
        gathered[name] = jnp.asarray(table, b.numeric.dtype)[ids]
    return lookup.to_inputs(plan, gathered, b)


def completed(model, inputs, params, b):
    """Row by row: the embedding's module alone on one value, added to row 1 of known numbers."""
    found = {}
    makers = {name: make for name, _, make in model.embeddings}
    for view, fields in inputs.fields.items():
        e = np.array(fields, np.float64)
        for name, make in makers.items():
            slot, number, place = PLACES[name]
            known = (b.ids[:, slot] == 1) & b.row_mask
            x = jnp.asarray(b.numeric[known, number])
            e[known, place] += make(width=D).apply({"params": params[f"numbers_{view}"][name]}, x)
        found[view] = jnp.asarray(e)
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_reads_completed_fields(name, random_variables):
    """Its outputs are those of the model without embeddings on the fields that are completed."""
    with jax.enable_x64(True):
        c = config(
            model__architecture=name,
            model__experts="mlp*2+hcnet",
            model__mlp__hidden=(6,),
            model__dtype="float64",
            model__normalisation="batch",
        )
        model, plan = build(c, SCHEMA)
        assert isinstance(model, WithNumbers)
        assert isinstance(model.reader, WithVectors)
        b = batch(16)
        inputs = inputs_of(plan, b)
        variables = random_variables(model, inputs, train=False)
        got = jax.jit(lambda v, i: model.apply(v, i, train=False))(variables, inputs)
        fields = completed(model, inputs, variables["params"], b)
        params = {k: v for k, v in variables["params"].items() if not k.startswith("numbers_")}
        assert len(params) + len(plan.views) == len(variables["params"])
        alone = architectures.build(c.model, PLAIN)
        shapes = jax.eval_shape(lambda: alone.init(jax.random.key(0), inputs, train=False))
        assert jax.tree.structure(shapes["params"]) == jax.tree.structure(params)  # their paths
        given = Inputs(fields, inputs.codewords, inputs.row_mask, inputs.vectors)
        expected = jax.jit(lambda v, i: alone.apply(v, i, train=False))(
            {**variables, "params": params}, given
        )
        assert jax.tree.structure(got) == jax.tree.structure(expected)  # names of experts, gates
        for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
            np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-12)
        assert np.abs(fields["shared" if "shared" in fields else plan.views[0]]).max() > 0


def looked_up(schema, b, table):
    plan = make_plan(schema, config().model, ("shared",), 0)
    b = jax.tree.map(jnp.asarray, b)
    return plan, lookup.to_inputs(
        plan, {"embedding": table[lookup.row_ids(plan, b)["embedding"]]}, b
    )


def test_a_known_number_has_row_1_and_a_missing_one_its_learned_row_alone(random_variables):
    """Whatever is stored as its number; and a number without an embedding scales its row still."""
    with jax.enable_x64(True):
        b = batch()
        model, plan = build(config(model__dtype="float64"), SCHEMA)
        table = jnp.asarray(np.random.default_rng(1).normal(size=(plan.rows + 1, D))).at[-1].set(0)
        _, inputs = looked_up(SCHEMA, b, table)
        variables = random_variables(model, inputs, train=False)
        wild = b.numeric.copy()
        for slot, number, _ in PLACES.values():
            wild[b.ids[:, slot] == 0, number] = 1e6
        wild[-1] = np.nan  # of a masked row
        e = [
            model.apply(
                variables, looked_up(SCHEMA, b.replace(numeric=n), table)[1], method="completed"
            )
            for n in (b.numeric, wild)
        ]
        first, second = (np.asarray(i.fields["shared"]) for i in e)
        for name, (slot, number, place) in PLACES.items():
            zero, one = (np.asarray(table[plan.offsets[0][slot] + row]) for row in (0, 1))
            missing = (b.ids[:, slot] == 0) & b.row_mask
            if name == "rate":
                known = (b.ids[:, slot] == 1) & b.row_mask
                expected = b.numeric[known, number][:, None] * one
                np.testing.assert_allclose(first[known, place], expected, rtol=1e-12)
                continue
            np.testing.assert_array_equal(first[missing, place], np.tile(zero, (missing.sum(), 1)))
            np.testing.assert_array_equal(first[:-1, place], second[:-1, place])
            np.testing.assert_array_equal(second[-1, place], 0)


def gradients(b, plan, model, variables):
    def loss(params):
        out = model.apply({**variables, "params": params}, inputs_of(plan, b), train=False)
        return sum(jnp.sum(z**2) for z in out.logits.values())

    return jax.grad(loss)(variables["params"])["numbers_shared"]


def test_only_known_numbers_move_parameters(random_variables):
    with jax.enable_x64(True):
        model, plan = build(config(model__dtype="float64", model__architecture="mmoe"), SCHEMA)
        b = batch()
        variables = random_variables(model, inputs_of(plan, b), train=False)
        moved = gradients(b, plan, model, variables)
        assert set(moved) == set(EMBEDDINGS)
        assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(moved))
        ids, wild = b.ids.copy(), b.numeric.copy()
        for slot, number, _ in PLACES.values():
            ids[:, slot], wild[:, number] = 0, 1e6
        wild[-1] = np.nan
        gone = gradients(b.replace(ids=ids, numeric=wild), plan, model, variables)
        for leaf in jax.tree.leaves(gone):
            np.testing.assert_array_equal(leaf, 0)


def test_what_is_counted():
    """Parameters and operations of each embedding, in each view."""
    k, h, bins = 48, 20, 4
    own = {
        "piecewise_linear": (bins * D, bins * D),
        "periodic": (k + 2 * k * D + D, 2 * k * D),
        "autodis": (h + h * h + h * D, h * h + h * D),
    }
    for architecture, views in (("shared_bottom", 1), ("stem", 3)):
        for name in NUMBERS:
            sizes = []
            for schema in (PLAIN.with_embeddings({AGE: name}), PLAIN):
                model, plan = build(config(model__architecture=architecture), schema)
                inputs = jax.eval_shape(lambda plan=plan: example_inputs(plan))
                sizes.append(flops.count(model, inputs))
            assert sizes[0][0] - sizes[1][0] == views * own[name][0]
            assert sizes[0][1] - sizes[1][1] == views * 2 * own[name][1]


def test_a_model_without_embeddings_has_no_further_module():
    assert type(architectures.build(config().model, PLAIN)) is WithVectors


def test_a_choice_replaces_those_of_the_schema():
    changed = SCHEMA.with_embeddings({"rate": "autodis"})
    assert {f.name: f.embedding for f in changed.fields if f.embedded} == {"rate": "autodis"}
    assert SCHEMA.with_embeddings({"rate": "scaled"}) == PLAIN


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"prise": "periodic"}, "unknown field 'prise'. Did you mean 'price'"),
        ({"user": "periodic"}, "field 'user' is categorical; only a standardised number has"),
        ({"rate": "piecewise_linear"}, "'rate' cannot be piecewise_linear, .* keeps no bins"),
        ({"rate": "linear"}, "unknown embedding of field 'rate' 'linear'"),
    ],
)
def test_a_choice_that_makes_no_sense(chosen, message):
    with pytest.raises(UserError, match=message):
        PLAIN.with_embeddings(chosen)


def test_a_number_in_buckets_has_no_value_to_embed():
    field = Field("age", "numeric", rows=33)
    with pytest.raises(UserError, match="is numeric, in buckets; only a standardised number"):
        dataclasses.replace(field, embedding="periodic")


@pytest.mark.parametrize("edges", [(0.0,), (0.0, 0.0), (1.0, 0.0, 2.0)])
def test_edges_ascend(edges):
    with pytest.raises(UserError, match="field 'x': expected at least 2 edges of bins, ascending"):
        Field("x", "numeric", rows=2, standardised=True, edges=edges)
