"""Vector fields: their projections against NumPy, in every architecture and view."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import build, config
from vector_batches import NUMBERS, SCHEMA, SLOTS, TASKS, K, batch

from dtn_jax.interface import Inputs
from dtn_jax.models import build as architectures
from dtn_jax.models import flops
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.vectors import Projections
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state, example_inputs
from dtn_jax.tables import lookup
from dtn_jax.tables.plan import make_plan

D, NAME = 4, "image/text 1.0"
PLACES = {field.name: f for f, field in enumerate(SCHEMA.fields)}
PLAIN = Schema(  # the same fields, as an architecture alone sees them
    "plain",
    tuple(
        Field(f.name, rows=2) if f.kind == "vector" else dataclasses.replace(f)
        for f in SCHEMA.fields
    ),
    TASKS,
)


def inputs_of(plan, b, seed=1):
    """Looked-up rows of a random table, as the model is given them."""
    b = jax.tree.map(jnp.asarray, b)
    rows = lookup.row_ids(plan, b)
    rng = np.random.default_rng(seed)
    gathered = {}
    for name, ids in rows.items():
        table = rng.normal(size=(plan.arrays[name].rows + 1, plan.arrays[name].width))
        table[-1] = 0  # of padding
        gathered[name] = jnp.asarray(table, b.numeric.dtype)[ids]
    return lookup.to_inputs(plan, gathered, b)


def completed(inputs, weights, b):
    """x W added to the field embeddings, row by row: `weights` is {view: {name: W}}."""
    found = {}
    for view, fields in inputs.fields.items():
        e = np.array(fields, np.float64)
        for name, W in weights[view].items():
            for i in range(len(e)):
                if b.ids[i, SLOTS[name]] == 1 and b.row_mask[i]:
                    x = np.asarray(b.numeric[i, NUMBERS[name]], np.float64)
                    e[i, PLACES[name]] += sum(x[k] * np.asarray(W)[k] for k in range(len(x)))
        found[view] = e
    return found


def test_projections_against_numpy(precision, random_variables):
    b = batch(dtype=precision.dtype)
    inputs = inputs_of(make_plan(SCHEMA, config().model, ("shared",), 0), b)
    module = Projections(tuple((n, PLACES[n]) for n in SLOTS), 1.0, precision.dtype)
    given = inputs.fields["shared"], inputs.vectors
    variables = random_variables(module, *given)
    got = jax.jit(module.apply)(variables, *given)
    expected = completed(inputs, {"shared": variables["params"]}, b)["shared"]
    precision.assert_close(got, expected)
    np.testing.assert_array_equal(got[-1], 0)  # the masked row
    others = [f for f, field in enumerate(SCHEMA.fields) if field.kind != "vector"]
    np.testing.assert_array_equal(got[:, others], given[0][:, others])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_reads_completed_fields(name, random_variables):
    """Its outputs are those of the architecture alone on the fields that NumPy completes."""
    with jax.enable_x64(True):
        c = config(
            model__architecture=name,
            model__experts="mlp*2+hcnet",
            model__mlp__hidden=(6,),
            model__dtype="float64",
            model__normalisation="batch",
        )
        model, plan = build(c, SCHEMA)
        b = batch(16)
        inputs = inputs_of(plan, b)
        variables = random_variables(model, inputs, train=False)
        got = jax.jit(lambda v, i: model.apply(v, i, train=False))(variables, inputs)
        params = dict(variables["params"])
        weights = {view: params.pop(f"vectors_{view}") for view in plan.views}
        alone = architectures.build(c.model, PLAIN)
        shapes = jax.eval_shape(lambda: alone.init(jax.random.key(0), inputs, train=False))
        assert jax.tree.structure(shapes["params"]) == jax.tree.structure(params)  # their paths
        fields = {v: jnp.asarray(e) for v, e in completed(inputs, weights, b).items()}
        expected = jax.jit(lambda v, i: alone.apply(v, i, train=False))(
            {**variables, "params": params}, Inputs(fields, inputs.codewords, inputs.row_mask)
        )
        assert jax.tree.structure(got) == jax.tree.structure(expected)  # names of experts, gates
        for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
            np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-12)


def test_what_is_counted():
    """W in each view: K D parameters and 2 K D operations; the tables have two rows a field."""
    for architecture, views in (("shared_bottom", 1), ("stem", 3)):
        sizes = []
        for schema in (SCHEMA, PLAIN):
            model, plan = build(config(model__architecture=architecture), schema)
            inputs = jax.eval_shape(lambda plan=plan: example_inputs(plan))
            sizes.append(flops.count(model, inputs))
            assert sum(schema.tables().values()) == 3 * 12 + 3 * 2
        assert sizes[0][0] - sizes[1][0] == views * (K + 2) * D
        assert sizes[0][1] - sizes[1][1] == views * 2 * (K + 2) * D


def test_the_products_run_in_the_models_dtype_and_fields_keep_theirs(random_variables):
    b = batch(dtype=np.float32)
    inputs = inputs_of(make_plan(SCHEMA, config().model, ("shared",), 0), b)
    module = Projections(((NAME, 2),), 1.0, jnp.bfloat16)
    given = inputs.fields["shared"], inputs.vectors
    variables = random_variables(module, *given)
    got = module.apply(variables, *given)
    assert variables["params"][NAME].dtype == got.dtype == jnp.float32
    x, W = (jnp.asarray(a, jnp.bfloat16) for a in (inputs.vectors[NAME], variables["params"][NAME]))
    np.testing.assert_array_equal(got[:, 2], given[0][:, 2] + (x @ W).astype(jnp.float32))


def test_a_projection_begins_at_the_size_of_a_looked_up_row():
    wide = Schema("wide", (Field("v", "vector", rows=2, length=400), *PLAIN.fields[:1]), TASKS)
    c = config(model__embedding_dim=64, optim__table_init=0.3)
    model, plan = build(c, wide)
    W = np.asarray(create_state(c, model, plan).params["vectors_shared"]["v"])
    x = np.random.default_rng(0).normal(size=(1000, 400))
    assert W.shape == (400, 64)
    assert (x @ W).std() == pytest.approx(0.3, rel=0.02)


def grads(b, plan, model, variables):
    def loss(params):
        out = model.apply({**variables, "params": params}, inputs_of(plan, b), train=False)
        return sum(jnp.sum(z**2) for z in out.logits.values())

    return jax.grad(loss)(variables["params"])["vectors_shared"]


def test_only_known_vectors_move_a_projection(random_variables):
    with jax.enable_x64(True):
        model, plan = build(config(model__dtype="float64"), SCHEMA)
        b = batch()
        variables = random_variables(model, inputs_of(plan, b), train=False)
        moved = grads(b, plan, model, variables)
        assert all(np.abs(g).min() > 0 for g in moved.values())
        ids = b.ids.copy()
        ids[:, SLOTS[NAME]] = 0
        wild = b.numeric.copy()
        wild[:, NUMBERS[NAME]] = 1e6
        wild[-1, NUMBERS[NAME]] = np.nan  # of a masked row
        gone = grads(b.replace(ids=ids, numeric=wild), plan, model, variables)
        np.testing.assert_array_equal(gone[NAME], 0)
        assert np.abs(gone["sound"]).min() > 0


def test_a_missing_vector_is_its_learned_row():
    with jax.enable_x64(True):
        plan = make_plan(SCHEMA, config().model, ("shared",), 0)
        b = batch()
        ids = b.ids.copy()
        ids[:, SLOTS[NAME]] = 0
        b = jax.tree.map(jnp.asarray, b.replace(ids=ids))
        table = np.random.default_rng(1).normal(size=(plan.rows, D))
        gathered = {"embedding": jnp.asarray(table)[lookup.row_ids(plan, b)["embedding"]]}
        inputs = lookup.to_inputs(plan, gathered, b)
        module = Projections(((NAME, 2),), 1.0, jnp.float64)
        e = module.apply(
            {"params": {NAME: jnp.ones((K, D))}}, inputs.fields["shared"], inputs.vectors
        )
        row = plan.offsets[0][SLOTS[NAME]]  # row 0 of its table
        np.testing.assert_array_equal(e[:-1, 2], np.broadcast_to(table[row], (63, D)))


def test_permuting_examples_permutes_outputs(random_variables):
    with jax.enable_x64(True):
        model, plan = build(config(model__dtype="float64", model__architecture="dtn"), SCHEMA)
        b = batch()
        b = b.replace(row_mask=np.ones(64, bool))
        variables = random_variables(model, inputs_of(plan, b), train=False)
        apply = jax.jit(lambda b: model.apply(variables, inputs_of(plan, b), train=False).logits)
        order = np.random.default_rng(3).permutation(64)
        got = apply(jax.tree.map(lambda a: a[order], b))
        for name, z in apply(b).items():
            np.testing.assert_allclose(got[name], z[order], rtol=1e-10)


def test_a_model_without_vectors_has_no_further_module():
    model = architectures.build(config().model, PLAIN)
    assert type(model) is ARCHITECTURES["dtn"]
    one = Schema("one", (Field("v", "vector", rows=2, length=3),), (Task("click"),))
    assert type(architectures.build(config().model, one)) is not type(model)
