"""FLOPs counted from jaxprs, against arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from configs.base import get_config
from dtn_jax.interface import Inputs
from dtn_jax.models import build as architectures
from dtn_jax.models.flops import count, forward_flops
from dtn_jax.schema import Field, Schema, Task

A = np.zeros((3, 5), np.float32)
E = np.zeros((5, 7), np.float32)
ONE = 2 * 3 * 5 * 7  # of A @ E


@jax.custom_jvp
def custom(a, e):
    return a @ e


custom.defjvp(lambda primals, tangents: (custom(*primals), tangents[0] @ primals[1]))


@pytest.mark.parametrize(
    ("fn", "products"),
    [
        (lambda a, e: a @ e, 1),
        (lambda a, e: jnp.einsum("ij,jk->ki", a, e), 1),
        (lambda a, e: a * 2 + jnp.sum(e), 0),
        (lambda a, e: jax.vmap(lambda row: row @ e)(a), 1),
        (lambda a, e: jnp.einsum("bij,bjk->bik", jnp.stack([a] * 4), jnp.stack([e] * 4)), 4),
        (jax.jit(lambda a, e: jax.jit(jnp.dot)(a, e) + a @ e), 2),
        (jax.checkpoint(lambda a, e: a @ e), 1),
        (custom, 1),
        (lambda a, e: lax.scan(lambda c, _: (c, c @ e), a, length=6), 6),
        (lambda a, e: lax.cond(a[0, 0] > 0, lambda: (a @ e) @ e.T @ e, lambda: a @ e), 3),
        (lambda a, e: lax.while_loop(lambda c: c[0, 0] < 0, lambda c: c + 1, a) @ e, 1),
        (lambda a, e: jax.vjp(jnp.dot, a, e)[1](a @ e), 4),  # here, forward, and two back
    ],
)
def test_products(fn, products):
    assert forward_flops(fn, A, E) == products * ONE


def test_a_product_in_a_while_loop_is_an_error():
    square = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match="while loop"):
        forward_flops(lambda s: lax.while_loop(lambda c: c[0, 0] < 1, lambda c: c @ c, s), square)


def test_the_published_mmoe():
    # Of the released DTN it is in test_ali_ccp.py.
    # Eight experts 368-128-64, two towers 64-128-64-1, two gates 368-8 without bias.
    model = get_config().model
    model.architecture, model.experts, model.expert_dim = "mmoe", "mlp*8", 64
    model.mlp.hidden, model.tower_hidden = (128,), (128, 64)
    tasks = Task("click"), Task("order", upstream=("click",))
    schema = Schema("ali_ccp", tuple(Field(f"field_{i}") for i in range(23)), tasks)
    fields = {"shared": jnp.zeros((16, 23, 16))}
    inputs = jax.eval_shape(lambda: Inputs(fields, None, jnp.ones(16, bool)))
    size = count(architectures.build(model, schema), inputs)
    products = 8 * (368 * 128 + 128 * 64) + 2 * (64 * 128 + 128 * 64 + 64) + 2 * 368 * 8
    biases = 8 * (128 + 64) + 2 * (128 + 64 + 1)
    assert size.parameters == products + biases
    assert size.flops_per_example == 2 * products
