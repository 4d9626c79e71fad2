"""The term of pairs against all pairs written out, what it must not see, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import SCHEMA as TOY
from toy_steps import config as toy_config

from configs.base import get_config
from dtn_jax.errors import UserError
from dtn_jax.losses.pairwise import pairwise_losses, rank_rows, read_pairwise
from dtn_jax.losses.rows import row_weights
from dtn_jax.schema import Field, Schema, Task

pytestmark = pytest.mark.usefixtures("float64")

SCHEMA = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(Task("click"), Task("order", space="click"), Task("seconds", kind="regression")),
    group="user",
)
NAMES = SCHEMA.task_names
GIVEN = {"click": 0.5, "order": 2.0, "seconds": 3.0}


jitted = jax.jit(rank_rows, static_argnames="block")


def halves(groups):
    return np.asarray(groups, np.int64).view(np.int32).reshape(-1, 2)


def batch(rows=90, groups=12, seed=0, weighted=True):
    """Random rows of groups that differ in one half of their number alone, or in both."""
    rng = np.random.default_rng(seed)
    named = np.append(np.arange(groups - 4), [-1, -(2**32), 2**32, 2**32 + 1])
    labels = np.stack(
        [rng.random(rows) < 0.5, rng.random(rows) < 0.4, rng.integers(0, 5, rows)], axis=1
    ).astype(np.float64)
    label_mask = rng.random((rows, 3)) < 0.8
    labels[~label_mask] = np.nan
    return {
        "logits": {name: 2 * rng.normal(size=rows) for name in NAMES},
        "labels": labels,
        "label_mask": label_mask,
        "row_mask": rng.random(rows) < 0.9,
        "sample_weight": rng.random(rows) + 0.1 if weighted else None,
        "group": rng.choice(named, rows),
    }


def run(data, given=GIVEN):
    """{task: its term}"""
    return terms_and_slopes(data | {"group": halves(data["group"])}, tuple(given.items()))[0]


def slopes_of(data, given=GIVEN):
    """The derivative of the terms' sum by each task's scores."""
    return terms_and_slopes(data | {"group": halves(data["group"])}, tuple(given.items()))[1]


@functools.partial(jax.jit, static_argnums=1)
def terms_and_slopes(data, given):
    rows = {k: data[k] for k in ("labels", "label_mask", "row_mask", "sample_weight")}
    weights = row_weights(schema=SCHEMA, **rows)

    def terms(logits):
        found = pairwise_losses(logits, data["labels"], weights, data["group"], NAMES, dict(given))
        return found.sum(), dict(zip(NAMES, found))

    slopes, found = jax.grad(terms, has_aux=True)(data["logits"])
    return found, slopes


def counted(data, t):
    """The rows that count in a task's loss."""
    known, y = data["label_mask"], data["labels"]
    inside = known[:, t] & data["row_mask"]
    return inside & known[:, 0] & (y[:, 0] == 1) if NAMES[t] == "order" else inside


def pair_by_pair(data):
    """The definition, one pair at a time, and its derivative by each score."""
    result, slopes = {}, {}
    for t, name in enumerate(NAMES):
        z, y, g = data["logits"][name], data["labels"][:, t], data["group"]
        rows = np.flatnonzero(counted(data, t))
        w = np.ones(len(y)) if data["sample_weight"] is None else data["sample_weight"]
        cost, slope = 0.0, np.zeros(len(y))
        for i in rows:
            below = [j for j in rows if g[j] == g[i] and y[j] < y[i]]
            total = sum(w[j] for j in below)
            for j in below:
                share = w[i] / w[rows].sum() * w[j] / total
                cost += share * np.log1p(np.exp(z[j] - z[i]))
                p = 1 / (1 + np.exp(z[i] - z[j]))
                slope[i] -= share * p
                slope[j] += share * p
        result[name], slopes[name] = GIVEN[name] * cost, GIVEN[name] * slope
    return result, slopes


@pytest.mark.parametrize("weighted", [False, True])
def test_the_term_and_its_gradient_are_those_of_all_pairs_written_out(weighted):
    data = batch(weighted=weighted)
    expected, slopes = pair_by_pair(data)
    got, gradient = run(data), slopes_of(data)
    for name in NAMES:
        assert expected[name] > 0.01
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12)
        np.testing.assert_allclose(gradient[name], slopes[name], rtol=0, atol=1e-14)


@pytest.mark.parametrize("block", [1, 7, 200])
@pytest.mark.parametrize("groups", [1, 50])  # a group over all blocks; groups within a block
@pytest.mark.parametrize("share", [0.7, 1])  # of rows that count; others are sorted to the end
def test_blocks_change_nothing(block, groups, share):
    rng = np.random.default_rng(4)
    z, y = rng.normal(size=60), rng.integers(0, 3, 60).astype(float)
    weight = np.where(rng.random(60) < share, rng.random(60), 0)
    rows = [jnp.asarray(a) for a in (z, y, weight, halves(rng.integers(0, groups, 60)))]
    expected, got = (jitted(*rows, block=size) for size in (60, block))
    assert np.abs(expected[0]).max() > 0
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("how", ["no group twice", "all positive", "all negative", "padding"])
def test_a_batch_without_pairs_costs_nothing_and_pulls_at_nothing(how):
    data = batch()
    if how == "no group twice":
        data["group"] = np.arange(90)
    elif how == "padding":
        data["row_mask"][:] = False
    else:
        data["labels"][:, 0] = how == "all positive"
    assert run(data)["click"] == 0
    np.testing.assert_array_equal(slopes_of(data)["click"], 0)


def test_rows_that_do_not_count_reach_neither_the_term_nor_a_gradient():
    data = batch(seed=3)
    inside = {name: counted(data, t) for t, name in enumerate(NAMES)}
    spoilt = data | {
        "logits": {n: np.where(inside[n], z, np.nan) for n, z in data["logits"].items()},
        "sample_weight": np.where(data["row_mask"], data["sample_weight"], np.nan),
    }
    assert run(spoilt) == run(data)
    expected, got = slopes_of(data), slopes_of(spoilt)
    for name in NAMES:
        np.testing.assert_array_equal(got[name], expected[name])


def test_a_score_that_is_no_number_is_seen_in_its_group_alone():
    z, group = jnp.asarray([np.nan, 0, 1, 0]), jnp.asarray(halves([1, 1, 2, 2]))
    costs, slope = jitted(z, jnp.asarray([1.0, 0, 1, 0]), jnp.full(4, 0.25), group, block=4)
    assert np.isnan(costs).tolist() == [True, False, False, False]
    assert np.isnan(slope).tolist() == [True, True, False, False]


def test_tasks_that_are_named_have_the_term():
    config = toy_config(loss__pairwise="order=0.5,click=0")
    schema = dataclasses.replace(TOY, group="user")
    assert read_pairwise(config, schema) == {"order": 0.5}
    assert read_pairwise(get_config(), TOY) == {}


@pytest.mark.parametrize(
    ("changes", "group", "message"),
    [
        ({"loss__pairwise": "clik=1"}, "user", r"loss.pairwise 'clik'. Did you mean 'click'"),
        ({"loss__pairwise": "click=-1"}, "user", "expected 0 or a number from 1e-09 to 1e"),
        ({"loss__pairwise": "click"}, "user", "loss.pairwise: expected task=number, got 'click'"),
        ({"loss__pairwise": "click=1"}, "", "'toy' has none: name a column .* as `group` in its"),
        (
            {"loss__pairwise": "click=1", "train__accumulate": 2},
            "user",
            "does not go with train.accumulate=2: pairs are of all rows of a batch",
        ),
    ],
)
def test_what_is_refused(changes, group, message):
    with pytest.raises(UserError, match=message):
        read_pairwise(toy_config(**changes), dataclasses.replace(TOY, group=group))
