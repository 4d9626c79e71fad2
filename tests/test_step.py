"""One step against its parts, and that every option of training is felt."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import STEPS, B, batches, build, config, leaves, run

from dtn_jax.errors import UserError
from dtn_jax.losses import read_losses
from dtn_jax.optimizers import apply_dense, schedule
from dtn_jax.state import create_state
from dtn_jax.step import make_score_step, make_train_chunk, make_train_step
from dtn_jax.tables import lookup
from dtn_jax.tables.exchange import look_ups


@functools.cache
def default(architecture):
    return leaves(run(config(model__architecture=architecture))[0])


FELT = {
    "seed": 1,
    "loss.task_weights": "order=3",
    "loss.positive_weights": "click=5",
    "loss.sample_weights": False,
    "loss.tasks": "click=focal",
    "loss.balancing": "pcgrad",
    "optim.learning_rate": 1e-2,
    "optim.weight_decay": 0.1,
    "optim.b1": 0.5,
    "optim.b2": 0.9,
    "optim.eps": 1e-2,
    "optim.clip": 1e-3,
    "optim.schedule": "cosine",
    "optim.warmup_steps": 5,
    "optim.tables": "adagrad",
    "optim.table_learning_rate": 1e-2,
    "optim.table_l2": 0.1,
    "optim.table_init": 0.1,
    "optim.table_dtype": "bfloat16",
    "model.dropout": 0.3,
    "model.embedding_dropout": 0.3,
    "model.normalisation": "batch",
    "model.dtype": "bfloat16",
    "model.dtn.tsn": False,
    "model.fusion": "released",
}


@pytest.mark.parametrize("option", FELT)
def test_an_option_changes_what_is_computed(option):
    of_dtn = option in ("model.dtn.tsn", "model.fusion")
    architecture = "dtn" if of_dtn else "shared_bottom"  # that is quick to trace
    changes = {"model__architecture": architecture, option.replace(".", "__"): FELT[option]}
    changed, usual = leaves(run(config(**changes))[0]), default(architecture)
    assert len(changed) != len(usual) or any(
        a.shape != b.shape or (a != b).any() for a, b in zip(changed, usual, strict=True)
    )


@pytest.mark.parametrize("tables", ["sgd", "dense"])
def test_every_table_optimizer_moves_the_tables_its_own_way(tables):
    c = config(optim__tables=tables, model__architecture="shared_bottom")
    state, _ = run(c)
    start = create_state(c, *build(c)).tables["embedding"]
    assert (np.asarray(state.tables["embedding"]) != start).any()
    assert not np.array_equal(state.tables["embedding"], default("shared_bottom")[-1])


def test_rows_that_no_example_names_stay_as_they_were():
    c = config()
    chunk = batches()
    state, _ = run(c, chunk)
    model, plan = build(c)
    start = create_state(c, model, plan).tables["embedding"]
    touched = np.unique(np.asarray(chunk.ids) + np.asarray([0, 20, 50]))
    changed = plan.arrays["embedding"].to_rows(np.asarray(state.tables["embedding"] != start))
    moved = np.flatnonzero(changed.any(axis=1))
    assert moved.tolist() == touched.tolist()


def test_padding_changes_nothing():
    """Sixteen rows, and the same with sixteen masked ones of wild content behind them."""
    rng = np.random.default_rng(1)
    chunk = batches()
    wild = batches(seed=2).replace(
        labels=jnp.full((STEPS, B, 2), jnp.nan),
        sample_weight=jnp.full((STEPS, B), 1e9),
        row_mask=jnp.zeros((STEPS, B), bool),
        ids=jnp.asarray(rng.integers(-5, 10_000, (STEPS, B, 3)), jnp.int32),
    )
    padded = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), chunk, wild)
    c = config(model__normalisation="batch", loss__sample_weights=True, model__architecture="mmoe")
    (state, metrics), (state2, metrics2) = run(c, chunk), run(c, padded)
    np.testing.assert_allclose(metrics["losses"], metrics2["losses"], rtol=1e-5)
    for a, b in zip(leaves(state), leaves(state2), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5)


def test_a_chunk_equals_its_steps_one_by_one_and_stops_at_the_count():
    c = config(model__dropout=0.2, model__architecture="shared_bottom")
    model, plan = build(c)
    step = make_train_step(c, model, plan, 10)
    state = create_state(c, model, plan)
    chunk = batches()
    chunked, metrics = jax.jit(make_train_chunk(step, STEPS))(state, chunk, 3)
    one_step = jax.jit(step)
    for i in range(3):
        state, one = one_step(state, jax.tree.map(lambda a, i=i: a[i], chunk))
        np.testing.assert_allclose(metrics["losses"][i], one["losses"], rtol=1e-6)
    assert int(chunked.step) == 3
    for a, b in zip(leaves(chunked), leaves(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_schedules():
    optim = config(optim__warmup_steps=4).optim
    steps = jnp.arange(12)
    warm = jax.vmap(schedule(optim, 12))(steps)
    np.testing.assert_allclose(warm[:4], [0.25, 0.5, 0.75, 1.0])
    assert (warm[4:] == 1).all()
    optim.schedule = "linear"
    linear = jax.vmap(schedule(optim, 12))(steps)
    np.testing.assert_allclose(linear[4:], 1 - np.arange(8) / 8, rtol=1e-6)
    optim.schedule = "cosine"
    cosine = jax.vmap(schedule(optim, 12))(jnp.asarray([4, 8, 12]))
    np.testing.assert_allclose(cosine, [1, 0.5, 0], atol=1e-6)


def test_decay_is_decoupled_and_on_matrices_alone():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    moved = apply_dense(params, jax.tree.map(jnp.zeros_like, params), 0.1, 0.5)
    np.testing.assert_allclose(moved["kernel"], 1 - 0.1 * 0.5)
    np.testing.assert_array_equal(moved["bias"], 1)


def test_scoring_drops_nothing_out_and_keeps_the_task_order():
    c = config(model__dropout=0.5)
    model, plan = build(c)
    state = create_state(c, model, plan)
    batch = jax.tree.map(lambda a: a[0], batches())
    score = jax.jit(make_score_step(model, plan, read_losses(c.loss, plan.schema)))
    logits = score(state, batch)
    assert logits.shape == (B, 2)
    np.testing.assert_array_equal(logits, score(state, batch))
    gathered = lookup.gather(state.tables, lookup.row_ids(plan, batch), look_ups(plan))
    inputs = lookup.to_inputs(plan, gathered, batch)
    outputs = model.apply({"params": state.params}, inputs, train=False)
    np.testing.assert_allclose(logits[:, 1], outputs.logits["order"], rtol=1e-5)


def test_the_debug_check_counts_ids_out_of_range():
    chunk = batches()
    chunk = chunk.replace(ids=chunk.ids.at[1, 0, 2].set(99))
    _, metrics = run(config(debug__check_ids=True, model__architecture="shared_bottom"), chunk)
    assert np.asarray(metrics["bad_ids"]).sum(axis=0).tolist() == [0, 0, 1]


def test_options_by_task_are_checked():
    with pytest.raises(UserError, match=r"loss.task_weights 'clicks'. Did you mean 'click'"):
        run(config(loss__task_weights="clicks=1"))
    with pytest.raises(UserError, match="expected task=number, got 'click=x'"):
        run(config(loss__positive_weights="click=x"))


MEMORY = {
    "model__experts": "mlp+hcnet",
    "model__hcnet__codebook_rows": 50,
    "model__mlp__hidden": (8,),
    "model__dropout": 0.3,
    "model__embedding_dropout": 0.2,
    "model__dtype": "float64",
}


@functools.cache
def with_some_labels(architecture, **saving):
    rng = np.random.default_rng(3)
    known = jnp.asarray(rng.random((STEPS, B, 2)) < 0.7)
    chunk = batches().replace(label_mask=known)
    return run(config(model__architecture=architecture, **MEMORY, **saving), chunk)


@pytest.mark.parametrize("saving", [{"train__accumulate": 4}, {"train__remat": True}])
@pytest.mark.parametrize("architecture", ["dtn", "ple"])
def test_options_that_save_memory_leave_the_numbers_alone(saving, architecture):
    """Dropout masks, losses over spaces and repeated rows of a table included."""
    with jax.enable_x64(True):
        state, metrics = with_some_labels(architecture)
        saved, metrics2 = with_some_labels(architecture, **saving)
        np.testing.assert_allclose(metrics["losses"], metrics2["losses"], rtol=1e-12)
        for a, b in zip(leaves(state), leaves(saved), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def sized(**changes):
    return config(
        model__embedding_dim=16,
        model__experts="mlp*3",
        model__mlp__hidden=(256, 256, 256),
        model__architecture="mmoe",
        **changes,
    )


BIG = jax.tree.map(lambda a: jax.ShapeDtypeStruct((4096, *a.shape[2:]), a.dtype), batches())


@pytest.mark.slow
def test_accumulation_saves_memory():
    def temporaries(**changes):
        c = sized(**changes)
        model, plan = build(c)
        step = jax.jit(make_train_step(c, model, plan, 10), donate_argnums=0)
        shapes = jax.eval_shape(lambda: create_state(c, model, plan))
        return step.lower(shapes, BIG).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(train__accumulate=8) < 0.3 * temporaries()


def test_rematerialisation_keeps_less_for_the_backward_pass():
    def kept(**changes):
        c = sized(**changes)
        model, plan = build(c)
        state = jax.eval_shape(lambda: create_state(c, model, plan))

        def backward(params, gathered, batch):
            inputs = lookup.to_inputs(plan, gathered, batch)

            def logits(params):
                return model.apply({"params": params}, inputs, train=True).logits

            return jax.vjp(logits, params)[1]

        gathered = {"embedding": jax.ShapeDtypeStruct((4096, 1, 3, 16), jnp.float32)}
        residuals = jax.tree.leaves(jax.eval_shape(backward, state.params, gathered, BIG))
        return sum(a.size * a.dtype.itemsize for a in residuals)

    assert kept(train__remat=True) < 0.3 * kept()
