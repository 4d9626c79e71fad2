"""Many steps of MMoE from given weights, against Adam and lazy Adam written out in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from toy_steps import SCHEMA, B, batches, build, config, first_state

from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.tables import lookup

STEPS = 96
B1, B2, EPS = 0.9, 0.999, 1e-8
DENSE, ROWS = 1e-3, 5e-3  # learning rates
NEAR = 1e-5  # of the largest number of an array


class Adam:
    """Of an array; or lazy, of rows, whose moments and counts advance only where a batch has
    them."""

    def __init__(self, shape, rate):
        self.rate, self.m, self.v = rate, np.zeros(shape), np.zeros(shape)
        self.count = np.zeros(shape[:1] + (1,) * (len(shape) - 1))

    def step(self, array, gradient, rows=slice(None)):
        self.count[rows] += 1
        self.m[rows] = B1 * self.m[rows] + (1 - B1) * gradient
        self.v[rows] = B2 * self.v[rows] + (1 - B2) * gradient**2
        mean = self.m[rows] / (1 - B1 ** self.count[rows])
        root = np.sqrt(self.v[rows] / (1 - B2 ** self.count[rows]))
        array[rows] -= self.rate * mean / (root + EPS)


def test_96_steps_equal_an_independent_lazy_adam():
    c = config(
        model__architecture="mmoe",
        model__experts="mlp*2",
        optim__learning_rate=DENSE,
        optim__table_learning_rate=ROWS,
        loss__sample_weights=False,
    )
    model, plan = build(c)
    lie, state, chunk = plan.arrays["embedding"], first_state(c, model, plan), batches(STEPS, 5)
    step = make_train_step(c, model, plan, STEPS)
    after, metrics = jax.jit(make_train_chunk(step, STEPS))(state, chunk, STEPS)

    def loss(params, gathered, batch):
        inputs = lookup.to_inputs(plan, gathered, batch)
        logits = model.apply({"params": params}, inputs, train=False).logits
        total = 0.0
        for task, known in zip(SCHEMA.tasks, batch.labels.T):
            weight = jnp.ones(B) if task.space == "all" else batch.labels[:, 0]
            each = jnp.logaddexp(0, logits[task.name]) - known * logits[task.name]
            total += jnp.sum(weight * each) / jnp.sum(weight)
        return total

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    params = jax.tree.map(lambda a: np.array(a, np.float64), state.params)
    table = np.array(lie.to_rows(np.asarray(state.tables["embedding"])), np.float64)
    dense = [Adam(a.shape, DENSE) for a in jax.tree.leaves(params)]
    lazy, losses = Adam(table.shape, ROWS), []
    row_ids = jax.jit(functools.partial(lookup.row_ids, plan))
    for n in range(STEPS):
        batch = jax.tree.map(lambda a, n=n: a[n], chunk)
        ids = np.asarray(row_ids(batch)["embedding"])
        gathered = {"embedding": jnp.asarray(table[ids], jnp.float32)}
        total, (of_params, of_rows) = gradient(params, gathered, batch)
        losses.append(float(total))
        for adam, array, own in zip(dense, jax.tree.leaves(params), jax.tree.leaves(of_params)):
            adam.step(array, np.asarray(own, np.float64))
        rows, place = np.unique(ids, return_inverse=True)
        summed = np.zeros((len(rows), plan.dim))
        np.add.at(summed, place.reshape(-1), np.asarray(of_rows["embedding"]).reshape(-1, plan.dim))
        lazy.step(table, summed, rows)
    moved = np.abs(table - lie.to_rows(np.asarray(state.tables["embedding"]))).max(axis=1)
    assert (moved > 0.05).sum() > 50  # nearly all rows, and far
    np.testing.assert_allclose(metrics["losses"].sum(axis=1), losses, rtol=1e-4)
    got = lie.to_rows(np.asarray(after.tables["embedding"]))
    for array, known in ((got, table), *zip(*map(jax.tree.leaves, (after.params, params)))):
        np.testing.assert_allclose(array, known, rtol=0, atol=NEAR * np.abs(known).max())
