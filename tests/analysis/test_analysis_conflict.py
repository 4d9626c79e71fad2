"""Cosines of the tasks' gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny_runs import B, tiny

from configs.base import get_config
from dtn_jax.analysis import inside
from dtn_jax.analysis.conflict import batches_of, make_conflict, over_batches, table_cosines
from dtn_jax.input.reader import take
from dtn_jax.interface import Batch, Outputs
from dtn_jax.optimizers import hyper
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import State
from dtn_jax.tables.plan import make_plan

QUICK = {"model__gdcn__layers": 1, "parallel__devices": 1}  # quick to compile


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_cosines_are_those_of_the_gradients_summed_by_row(platform):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(3, 8, 2, 4))
    ids = rng.integers(0, 6, (8, 2))
    ids[0], ids[1, 1] = 6, 6  # masked, and padding
    cosines = jax.jit(table_cosines, static_argnums=(2, 3, 4))
    found = cosines(gradients, ids, 6, ("a", "b", "c"), platform)
    tables = np.zeros((3, 6, 4))
    for b, slot in np.ndindex(8, 2):
        if ids[b, slot] < 6:
            tables[:, ids[b, slot]] += gradients[:, b, slot]
    flat = tables.reshape(3, -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    for (s, t), (i, j) in {("a", "b"): (0, 1), ("a", "c"): (0, 2), ("b", "c"): (1, 2)}.items():
        assert found[s, t] == pytest.approx(flat[i] @ flat[j], abs=1e-5)


class TwoHeads(nn.Module):
    """Both tasks have the logit: the sum of all embeddings."""

    @nn.compact
    def __call__(self, inputs, train):
        logit = inputs.fields["shared"].sum(axis=(1, 2))
        return Outputs(logits={"click": logit, "order": logit})


@pytest.mark.parametrize(("order", "cosine"), [("same", 1), ("opposite", -1), ("one class", None)])
def test_conflict_of_equal_and_of_opposite_tasks(order, cosine):
    config = get_config()
    schema = Schema("x", [Field("item", rows=5)], [Task("click"), Task("order")])
    plan = make_plan(schema, config.model, ("shared",), 0)
    rng = np.random.default_rng(0)
    click = (rng.random(16) < 0.5).astype(np.float32)
    labels = {"same": click, "opposite": 1 - click, "one class": click}[order]
    batch = Batch(
        ids=rng.integers(0, 5, (16, 1)).astype(np.int32),
        weights=np.zeros((16, 0), np.float32),
        numeric=np.zeros((16, 0), np.float32),
        labels=np.stack([click, labels], axis=1),
        label_mask=np.stack([np.ones(16, bool), np.full(16, cosine is not None)], axis=1),
        sample_weight=np.ones(16, np.float32),
        row_mask=np.ones(16, bool),
    )
    tables = {"embedding": jnp.zeros((plan.rows, plan.dim))}  # logits of 0: p - y is +- 1/2
    state = State(0, None, {}, {}, {}, tables, {}, hyper(config, schema))
    found = jax.jit(make_conflict(config.loss, TwoHeads(), plan))(state, batch)
    if cosine is None:  # order has no label: its gradient is 0
        assert np.isnan(found["click", "order"])
    else:
        assert found["click", "order"] == pytest.approx(cosine, abs=1e-6)


def test_a_cosine_is_over_batches_as_large_as_in_training_whatever_scoring_steps_are():
    """90 rows, of which 80 fill two batches of 40."""
    with jax.enable_x64(True):
        one, other = (
            tiny("mmoe", data__batch_size=40, data__eval_batch_size=size, **QUICK)
            for size in (16, 64)
        )
        found = inside.conflict_facts(one.passes)
        assert inside.conflict_facts(other.passes) == found
        run = one.run
        batches = [take(one.rows, place) for place in batches_of(B, 40)]
        conflict = jax.jit(make_conflict(run.config.loss, run.model, run.plan))
        each = [float(conflict(one.state, batch)["click", "order"]) for batch in batches]
    pair = found["click, order"]
    assert (pair["batches"], pair["batch_rows"]) == (2, 40)
    assert pair["mean"] == pytest.approx(np.mean(each), rel=1e-5)
    assert pair["half"] > abs(each[0] - each[1])


def test_batches_are_disjoint_and_one_where_there_are_few_rows():
    assert len(np.unique(batches_of(25, 10))) == 20
    assert sorted(batches_of(7, 10)[0]) == list(range(7))


def test_the_interval_of_a_mean_over_batches_holds_the_true_one():
    """In 95 % of many draws of 4 batches; a normal interval would in 85."""
    drawn = np.random.default_rng(0).normal(0.1, 0.05, (2_000, 4))
    found = np.array([over_batches(own) for own in drawn])
    assert np.mean(np.abs(found[:, 0] - 0.1) < found[:, 1]) == pytest.approx(0.95, abs=0.015)
    assert over_batches(np.array([0.5, np.nan])) == (0.5, None)
    assert over_batches(np.array([np.nan])) == (None, None)
