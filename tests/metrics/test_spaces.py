"""A task's probability in a space that is not that of its loss."""

import numpy as np
import pytest

from dtn_jax.errors import UserError
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.spaces import SURE, logits_in
from dtn_jax.schema import Field, Schema, Task

FUNNEL = Schema(
    "shop",
    (Field("item", rows=3),),
    (
        Task("click"),
        Task("cart", upstream=("click",), also_report=("click",)),
        Task("order", upstream=("cart",), space="cart", also_report=("all", "click")),
        Task("seconds", kind="regression", also_report=("click",)),
    ),
)


def logit(p):
    return np.log(p / (1 - p))


def made(click, cart, order_of_cart):
    columns = [logit(click), logit(cart), logit(order_of_cart), np.full(len(click), 7.5)]
    return np.stack(columns, axis=1)


def test_probabilities_are_those_of_a_funnel_whatever_space_each_was_trained_in():
    """Drawn as a chain p(click), p(cart | click), p(order | cart), from which all others follow."""
    rng = np.random.default_rng(0)
    click, cart, order = rng.uniform(0.05, 0.95, (3, 100))
    z = made(click, click * cart, order)
    wanted = {
        ("click", "all"): click,
        ("cart", "all"): click * cart,
        ("cart", "click"): cart,
        ("order", "cart"): order,
        ("order", "click"): cart * order,
        ("order", "all"): click * cart * order,
    }
    for (task, space), p in wanted.items():
        np.testing.assert_allclose(sigmoid(logits_in(space, task, z, FUNNEL)), p, rtol=1e-9)
    rows = rng.random(100) < 0.3
    some = logits_in("click", "cart", z, FUNNEL, rows)
    np.testing.assert_array_equal(some, logits_in("click", "cart", z, FUNNEL)[rows])
    np.testing.assert_array_equal(logits_in("click", "seconds", z, FUNNEL), 7.5)


def test_it_stays_exact_where_probabilities_are_tiny_and_bounded_where_they_contradict():
    click, cart = np.array([-60.0, -20.0, -1.0]), np.array([-61.0, -40.0, 3.0])
    z = np.stack([click, cart, cart, cart], axis=1)
    found = logits_in("click", "cart", z, FUNNEL)
    # p(cart)/p(click): e^-1, e^-20 to first order; the last one is larger than 1.
    np.testing.assert_allclose(found[:2], [logit(np.exp(-1)), -20], rtol=1e-8)
    assert found[2] == pytest.approx(logit(SURE))
    assert np.isfinite(logits_in("click", "cart", 1e4 * np.sign(z), FUNNEL)).all()
    assert logits_in("click", "cart", z.astype(np.float32), FUNNEL).dtype == np.float32


def test_spaces_that_lead_in_a_circle_are_refused():
    tasks = (Task("a", space="b"), Task("b", space="a"))
    with pytest.raises(UserError, match=r"spaces .*circle: a -> b -> a"):
        Schema("round", (Field("item", rows=3),), tasks)
