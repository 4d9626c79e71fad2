"""`data.unknown_rate`: which ids training takes for the unknown one, and when."""

import jax
import jax.numpy as jnp
import numpy as np
from toy_steps import batches, build, config, first_state, leaves, run

from dtn_jax.run import step as steps
from dtn_jax.run.step import make_train_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import lookup

RATE, ROWS = 0.3, 40_000
SCHEMA = Schema(
    "kinds",
    fields=(
        Field("user", rows=1000),
        Field("tags", "bag", rows=50, slots=3),
        Field("price", "numeric", rows=20),
        Field("size", "numeric", rows=2, standardised=True),
    ),
    tasks=(Task("click"),),
)
NAMED = [0, 1, 2, 3]  # slots of user and tags


def hidden(key=0):
    """Random ids `[B, L]` with unknown ones and padding, and the same with some of them hidden."""
    _, plan = build(config(), SCHEMA)
    rows = [field.rows for field in SCHEMA.slot_fields()]
    ids = np.random.default_rng(0).integers(-1, rows, (ROWS, len(rows)))
    batch = jax.tree.map(lambda a: a[0], batches(1)).replace(ids=jnp.asarray(ids, jnp.int32))
    return ids, np.asarray(lookup.hide(plan, batch, RATE, jax.random.key(key)).ids)


def test_a_share_of_the_known_names_is_hidden_and_nothing_else():
    before, after = hidden()
    changed = before != after
    assert (after[changed] == 0).all()
    assert not changed[before <= 0].any()
    assert not changed[:, [4, 5]].any()  # numbers are no names
    for slot in NAMED:
        known = before[:, slot] > 0
        assert abs(changed[known, slot].mean() - RATE) < 0.01  # 4 standard errors
    both = (before[:, :2] > 0).all(axis=1)  # slots are drawn apart
    assert abs(changed[both, :2].all(axis=1).mean() - RATE**2) < 0.01
    assert (hidden(1)[1] != after).any()


def test_a_step_trains_on_the_hidden_ids_of_its_number(float64):
    """And a chunk, which routes the ids of a step before it begins, on the same."""
    c = config(data__unknown_rate=RATE, model__dropout=0.2)
    model, plan = build(c)
    plain = jax.jit(make_train_step(config(model__dropout=0.2), model, plan, 10))
    chunk, state = batches(), first_state(c, model, plan)
    for i in range(len(chunk.row_mask)):
        batch = jax.tree.map(lambda a, i=i: a[i], chunk)
        key = steps.key_of(state, steps.UNKNOWN)
        shown = lookup.hide(plan, batch, RATE, key)
        assert (shown.ids != batch.ids).any()
        state, _ = plain(state, shown)
    found, _ = run(c, chunk)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), leaves(found), leaves(state)
    )
