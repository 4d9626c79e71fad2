"""Fields of every kind are completed for any architecture: vectors, numbers and histories; trained
with, against the loss, on one device as on many and in parts."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import program
from every_field import (
    BESIDE,
    EMBEDDED,
    NUMBERS,
    PLACES,
    PLAIN,
    SCHEMA,
    SLOTS,
    VECTORS,
    B,
    D,
    batch,
    inputs_of,
    items_of,
    pooled_by,
    tables_of,
    wild,
)
from other_values import another
from toy_steps import build, config, first_state, leaves, placed_run

from dtn_jax.config import declarations
from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.completed import ways
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.numbers import NUMBERS as EMBEDDINGS
from dtn_jax.run.state import create_state, example_inputs
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import make_plan

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

WAYS = {"viewed": "din", "bought": "bst"}
NAMED = ",".join(f"{field}={way}" for field, way in WAYS.items())
POOLS = {
    "mean": lambda x: x.mean(axis=0),
    "sum": lambda x: x.sum(axis=0),
    "max": lambda x: x.max(axis=0),
}


def known(b, name):
    return (b.ids[:, SLOTS[name].start] == 1) & b.row_mask


def completed(plan, fields, params, b):
    """What an architecture reads, from its own embedding `[B, F, D]` of each view.

    Vectors in NumPy; numbers and histories by their modules alone, whose equations are in
    test_number_embeddings.py and test_history_pooling.py, each on its field's values or items only.
    """
    found = {}
    for v, (view, embedded) in enumerate(fields.items()):
        e, own = np.array(embedded), params[f"embedded_{view}"]
        for name in VECTORS:
            x = b.numeric[known(b, name)][:, NUMBERS[name]]
            e[known(b, name), PLACES[name]] += x @ np.asarray(own[name]["kernel"])
        for name in EMBEDDED:
            field = SCHEMA.fields[SCHEMA.field_names.index(name)]
            edges = {"edges": field.edges} if field.edges else {}
            module = EMBEDDINGS[field.embedding](width=D, scale=0.01, dtype=jnp.float64, **edges)
            x = b.numeric[known(b, name), NUMBERS[name].start]
            given = {"params": own[name]}, jnp.asarray(x)
            e[known(b, name), PLACES[name]] += jax.jit(module.apply)(*given)
        for name, way in WAYS.items():
            most = SLOTS[name].stop - SLOTS[name].start
            items, present = np.zeros((B, most, D)), np.zeros((B, most), bool)
            for r in range(B):
                history = items_of(plan, b, r, name, v)
                items[r, : len(history)], present[r, : len(history)] = history, True
            pool = functools.partial(HISTORIES[way](dtype=jnp.float64).apply, train=False)
            given = e[:, PLACES["item"]], items, present
            given = {"params": params[f"histories_{view}"][name]}, *map(jnp.asarray, given)
            e[:, PLACES[name]] = jax.jit(pool)(*given)
        found[view] = jnp.asarray(e)
    return found


MARKS = {"stem": (), "dtn": pytest.mark.slow}  # stem has several views


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=MARKS.get(n, pytest.mark.nightly)) for n in ARCHITECTURES]
)
def test_every_architecture_reads_completed_fields(name, random_variables):
    """Its outputs are those of the architecture alone on fields that are completed before."""
    given = {"model__experts": "mlp*2+hcnet", "model__normalisation": "batch"}
    c = config(model__architecture=name, model__dtype="float64", model__histories=NAMED, **given)
    model, plan = build(c, SCHEMA)
    b = batch()
    inputs = jax.jit(functools.partial(inputs_of, plan))(b, tables_of(plan))
    variables = random_variables(model, inputs, train=False)
    got = jax.jit(functools.partial(model.apply, train=False))(variables, inputs)
    own = ("embedded_", "histories_")
    params = {k: v for k, v in variables["params"].items() if not k.startswith(own)}
    assert len(params) + 2 * len(plan.views) == len(variables["params"])
    c.model.histories = ""
    alone = architectures.build(c.model, PLAIN)
    shapes = jax.eval_shape(lambda: alone.init(jax.random.key(0), inputs, train=False))
    assert jax.tree.structure(shapes["params"]) == jax.tree.structure(params)  # their paths
    fields = completed(plan, inputs.fields, variables["params"], b)
    expected = jax.jit(functools.partial(alone.apply, train=False))(
        {**variables, "params": params}, inputs.replace(fields=fields)
    )
    assert jax.tree.structure(got) == jax.tree.structure(expected)  # names of experts, gates
    for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def pooled():
    """pooling -> (plan, batch, the field embeddings of histories pooled so)"""

    @functools.cache
    def found(pooling):
        with jax.enable_x64(True):
            _, plan = build(config(), pooled_by(pooling))
            b = batch()
            inputs = jax.jit(functools.partial(inputs_of, plan))(b, tables_of(plan))
        return plan, b, inputs

    return found


@pytest.mark.parametrize("pooling", POOLS)
def test_a_field_pools_the_sums_of_rows(pooling, pooled):
    """A history's items with their companions; it is what is there, and else as fields say."""
    plan, b, inputs = pooled(pooling)
    got = np.asarray(inputs.fields["shared"])
    for name in BESIDE:
        items, present = (np.asarray(a) for a in inputs.histories["shared"][name])
        there = (b.ids[:, SLOTS[name]] >= 0) & b.row_mask[:, None]
        np.testing.assert_array_equal(present, there)
        assert not items[~there].any()
        for r in range(B):
            own = items_of(plan, b, r, name)
            np.testing.assert_allclose(items[r][there[r]], own, rtol=1e-12)
            expected = POOLS[pooling](own) if len(own) else np.zeros(D)
            np.testing.assert_allclose(got[r, PLACES[name]], expected, rtol=1e-12, atol=1e-14)


def test_a_known_value_has_row_1_and_a_missing_one_its_learned_row(pooled):
    """To which the model adds; and a number without an embedding scales its row."""
    plan, b, inputs = pooled("mean")
    got, table = np.asarray(inputs.fields["shared"]), tables_of(plan)["embedding"]
    for name in ("user", "item", "rate", *VECTORS, *EMBEDDED):
        slot = SLOTS[name].start
        rows = table[plan.offsets[0][slot] + b.ids[:, slot]] * b.row_mask[:, None]
        if name == "rate":
            rows = rows * b.numeric[:, NUMBERS[name]]
        np.testing.assert_allclose(got[:, PLACES[name]], rows, rtol=1e-12)


@pytest.fixture(scope="module")
def slopes():
    """(plan, `(batch) -> (logits, gradients by parameters and tables)`), compiled once."""
    with jax.enable_x64(True):
        c = config(
            model__architecture="shared_bottom", model__dtype="float64", model__histories=NAMED
        )
        model, plan = build(c, SCHEMA)
        state = jax.eval_shape(lambda: create_state(c, model, plan))
        rng, tables = np.random.default_rng(3), tables_of(plan)
        params = jax.tree.map(lambda a: 0.3 * rng.normal(size=a.shape), state.params)

        @jax.jit
        @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
        def total(params, tables, b):
            out = model.apply({"params": params}, inputs_of(plan, b, tables), train=False)
            real = [jnp.where(b.row_mask, z, 0) for z in out.logits.values()]
            return sum(jnp.sum(z**2) for z in real), real

        def found(b):
            with jax.enable_x64(True):
                gradients, logits = total(params, tables, b)
            return jax.tree.map(np.asarray, (logits, *gradients))

        return plan, found


def test_what_is_missing_masked_or_padding_changes_nothing(slopes):
    _, found = slopes
    for a, b in zip(*(jax.tree.leaves(found(given)) for given in (batch(), wild(batch())))):
        np.testing.assert_array_equal(a, b)


def test_what_is_known_moves_logits_and_parameters(slopes):
    _, found = slopes
    logits, params, _ = found(batch())
    for group in ("embedded", "histories"):
        assert all(g.any() for g in jax.tree.leaves(params[f"{group}_shared"])), group
    vectors = (params["embedded_shared"][name]["kernel"] for name in VECTORS)
    assert all(np.abs(w).min() > 0 for w in vectors)
    for name in ("gap", "action"):
        ids = batch().ids.copy()
        there = ids[:, SLOTS[name]]
        there[there >= 0] = (there[there >= 0] + 1) % 6
        assert np.abs(found(batch().replace(ids=ids))[0][0] - logits[0]).max() > 1e-4


OWN = {k: f for k, f in declarations().items() if {*f.members} & {*HISTORIES, *EMBEDDINGS}}


def traced(**changes):
    """A model's first parameters and its outputs, as programs."""
    model, plan = build(config(model__architecture="shared_bottom", **changes), SCHEMA)
    inputs = jax.eval_shape(functools.partial(example_inputs, plan))
    init = functools.partial(model.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), inputs)
    apply = functools.partial(model.apply, train=False)
    return program(init, jax.random.key(0), inputs), program(apply, variables, inputs)


@functools.cache
def usual(way):
    return traced(model__histories=way)


@pytest.mark.parametrize("key", OWN)
def test_flipping_an_option_changes_the_model(key):
    """Those of a new way or embedding too: they need no line here."""
    name, option = OWN[key].members[0], OWN[key].option
    way = name if name in HISTORIES else ""
    value = (5,) if isinstance(option.default, tuple) else another(option, option.default)
    value = 4 if key.endswith("heads") else value
    assert traced(model__histories=way, **{key.replace(".", "__"): value}) != usual(way)


def test_a_model_sees_a_history_and_its_companions_as_one_field():
    assert not {"gap", "action"} & set(SCHEMA.read_names)
    c = config(model__experts="hcnet")
    plan = make_plan(SCHEMA, c.model, ("shared",), 1)
    assert [SCHEMA.slot_fields()[s].name for s in plan.codebook_slots] == ["user", "item"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("bst", {"viewed": "bst", "bought": "bst"}),
        ("bought=din", {"bought": "din"}),
        ("bought=din,viewed=bst", {"viewed": "bst", "bought": "din"}),
    ],
)
def test_ways_are_chosen_for_all_or_by_field(text, expected):
    assert ways(text, SCHEMA) == expected


def embedded(**chosen):
    return SCHEMA.with_embeddings(chosen)


WITHOUT = Schema("plain", (Field("item"),), (Task("click"),))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: ways("dien", SCHEMA), "model.histories 'dien'. Did you mean 'din'"),
        (lambda: ways("item=din", SCHEMA), "sequence field in model.histories 'item'"),
        (lambda: ways("viewed=dien", SCHEMA), "model.histories: way of viewed 'dien'"),
        (lambda: ways("din", WITHOUT), "data set 'plain' has no sequence field"),
        (lambda: embedded(prise="periodic"), "unknown field 'prise'. Did you mean 'price'"),
        (lambda: embedded(user="periodic"), "field 'user' is categorical; only a standardised"),
        (lambda: embedded(rate="piecewise_linear"), "'rate' cannot be piecewise_linear"),
        (lambda: embedded(rate="linear"), "unknown embedding of field 'rate' 'linear'"),
    ],
)
def test_what_makes_no_sense_is_told(ask, message):
    with pytest.raises(UserError, match=re.escape(message)):
        ask()


# Training, with all of them.


STEPS, RATE = 3, 0.5
MODEL = {
    "model__dtype": "float64",
    "model__architecture": "shared_bottom",
    "model__experts": "mlp",
    "model__dropout": 0.2,
    "model__histories": "viewed=din",
    "optim__tables": "sgd",
    "optim__table_learning_rate": RATE,
    "optim__learning_rate": 0.1,
    "optim__table_init": 1.0,  # near 0 a difference would step over the kinks of ReLU
    "optim__eps": 1e-4,
    "optim__clip": 0.5,
    "data__batch_size": 16,
    "data__eval_batch_size": 16,
    "parallel__devices": 1,
    "seed": 1,  # with 0 the ReLUs of one row are all off, and nothing moves its embeddings
}


def chunk():
    return jax.tree.map(lambda *a: np.stack(a), *(batch(seed=s) for s in range(STEPS)))


@functools.cache
def start():
    c = config(**MODEL)
    return first_state(c, *build(c, SCHEMA))


@functools.cache
def on_one_device():
    """(state, steps) -> the state and the losses after them, compiled once."""
    c = config(**MODEL)
    step = make_train_step(c, *build(c, SCHEMA), 100)
    run = jax.jit(make_train_chunk(step, STEPS))
    return lambda state, steps=STEPS: run(state, chunk(), steps)


PMAP = {"parallel__devices": 2, "parallel__strategy": "pmap", "train__accumulate": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        {"parallel__devices": 8, "parallel__table_devices": 4, "train__accumulate": 2},
        PMAP,
        pytest.param({"parallel__devices": 8}, marks=pytest.mark.nightly),
        pytest.param({"train__accumulate": 2}, marks=pytest.mark.nightly),
    ],
)
def test_on_many_devices_and_in_parts_the_numbers_are_one_devices(way):
    one, metrics = on_one_device()(start())
    many, metrics2 = placed_run(config(**MODEL | way), chunk(), SCHEMA, start())
    np.testing.assert_allclose(metrics2["losses"], metrics["losses"], rtol=1e-10)
    for a, b in zip(leaves(many), leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_a_step_moves_rows_against_the_loss():
    """The move of plain SGD against differences of the loss, in a random direction."""
    state, plan = start(), build(config(**MODEL), SCHEMA)[1]

    def stepped(table):
        after, metrics = on_one_device()(state.replace(tables={"embedding": table}), 1)
        return np.asarray(after.tables["embedding"]), np.asarray(metrics["losses"])[0].sum()

    before = np.asarray(state.tables["embedding"])
    slope = (before - stepped(before)[0]) / RATE
    changed = plan.arrays["embedding"].in_order((slope != 0).any(axis=1))
    b = batch()
    real = (b.ids >= 0) & b.row_mask[:, None]
    named = (b.ids + np.asarray(plan.offsets[0]))[real]
    assert set(np.flatnonzero(changed)) == set(named.tolist())
    direction = np.random.default_rng(4).normal(size=before.shape)
    ends = [stepped(before + e * direction)[1] for e in (1e-6, -1e-6)]
    found = (slope * direction).sum()
    assert abs(found) > 1e-4
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-6, rtol=1e-5)
