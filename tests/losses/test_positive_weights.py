"""Positives may weigh what they will: what a model gives is the log-odds of its task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import batches, config

from configs.base import get_config
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import task_losses
from dtn_jax.losses.positive_weights import inflation, logits_are_inflated
from dtn_jax.models import build as architectures
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state
from dtn_jax.step import make_score_step, make_train_chunk, make_train_step
from dtn_jax.tables.plan import make_plan

SCHEMA = Schema(
    "shop",
    fields=(Field("user", rows=20), Field("item", rows=30), Field("hour", rows=10)),
    tasks=(Task("click"), Task("order", upstream=("click",))),
)


@pytest.mark.parametrize("weight", [0.2, 1, 3000])
def test_the_best_logit_is_the_log_odds(weight):
    labels = jnp.array([1.0, 0.0, 0.0, 0.0])[:, None]
    schema = Schema("s", (Field("f", rows=2),), (Task("click"),))
    options = get_config().loss
    options.positive_weights = f"click={weight}"
    chosen = read_losses(options, schema)

    def loss(z):
        return task_losses({"click": jnp.full(4, z)}, labels, jnp.full((4, 1), 0.25), chosen)[0]

    best = np.log(0.25 / 0.75)
    assert abs(jax.grad(loss)(best)) < 1e-5 * weight
    assert abs(jax.grad(loss)(best + 0.1)) > 1e-3


@pytest.mark.parametrize(
    "architecture", [pytest.param("dtn", marks=pytest.mark.slow), "esmm", "aitm"]
)
def test_a_trained_model_gives_the_rates_of_its_labels(architecture, quick_to_compile):
    """Every row has the same features, so the best probabilities are the base rates: in ESMM of a
    product, in AITM beside a calibrator that compares them, in DTN one scales an expert."""
    steps = 300
    labels = np.zeros((16, 2), np.float32)
    labels[:6, 0] = labels[:2, 1] = 1
    chunk = batches(1)
    chunk = chunk.replace(ids=jnp.zeros_like(chunk.ids), labels=jnp.asarray(labels)[None])
    many = jax.tree.map(lambda a: jnp.repeat(a, steps, axis=0), chunk)
    c = config(
        model__architecture=architecture,
        loss__positive_weights="click=5,order=20",
        loss__sample_weights=False,
        optim__learning_rate=0.03,
        optim__schedule="linear",
    )
    model = architectures.build(c.model, SCHEMA)
    plan = make_plan(SCHEMA, c.model, architectures.views(c.model, SCHEMA), 0)
    step = make_train_step(c, model, plan, steps)
    train = jax.jit(make_train_chunk(step, steps))
    state, _ = train(create_state(c, model, plan), many, steps)
    score = make_score_step(model, plan, read_losses(c.loss, SCHEMA))
    logits = score(state, jax.tree.map(lambda a: a[0], chunk))
    p = jax.nn.sigmoid(logits)
    np.testing.assert_allclose(p, np.tile([[6 / 16, 2 / 16]], (16, 1)), rtol=0.02)


def test_inflation_is_of_binary_tasks_alone():
    schema = Schema(
        "s", (Field("f", rows=2),), (Task("a"), Task("b"), Task("c", kind="regression"))
    )
    assert inflation({"a": 20.0}, schema) == {"a": np.log(20), "b": 0, "c": 0}


def test_of_old_checkpoints_those_of_weights_other_than_1_are_inflated():
    def facts(weights, **more):
        return {"config": {"loss": {"positive_weights": weights}}} | more

    assert logits_are_inflated(facts("click=1,order=20"))
    assert not logits_are_inflated(facts("click=1, order=1.0"))
    assert not logits_are_inflated(facts(""))
    assert not logits_are_inflated(facts("order=20", logits="log-odds"))
