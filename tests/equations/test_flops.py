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


def test_convolution():
    # 6 - 3 + 1 = 4 positions, 2 examples, 8 output channels, each over 3 x (4 / groups) inputs.
    for groups in (1, 2):
        flops = forward_flops(
            lambda x, k, g=groups: lax.conv_general_dilated(
                x, k, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=g
            ),
            np.zeros((2, 6, 4), np.float32),
            np.zeros((3, 4 // groups, 8), np.float32),
        )
        assert flops == 2 * (2 * 4 * 8) * 3 * (4 // groups)


def test_a_product_in_a_while_loop_is_an_error():
    square = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match="while loop"):
        forward_flops(lambda s: lax.while_loop(lambda c: c[0, 0] < 1, lambda c: c @ c, s), square)


TASKS = (Task("click"), Task("order", upstream=("click",)))


def abstract_inputs(fields, dim, pairs=0, codebooks=0, batch=16):
    def make():
        return Inputs(
            fields={"shared": jnp.zeros((batch, fields, dim))},
            codewords=jnp.zeros((batch, pairs, 2, codebooks, dim)) if codebooks else None,
            row_mask=jnp.ones(batch, bool),
        )

    return jax.eval_shape(make)


@pytest.mark.parametrize(
    ("fusion", "parameters", "flops"),
    [
        # Per group of W = 23*64 = 1472 and H = 256: gdcn 4W^2 + WH (2 layers of 2 matrices),
        # masknet 2(2*256W + 128W) + 2*256^2, hcnet 136*128*64 + (W + 136*64)H, times 2 FLOPs.
        # Towers: in*128 + 128*64 + 64 with in = H released, 2H paper. Gates of the two tasks:
        # 9H each released, 9W each paper.
        ("released", 60_331_924, 88_843_520),
        ("paper", 60_419_348, 89_018_368),
    ],
)
def test_the_released_dtn(fusion, parameters, flops):
    model = get_config().model
    model.architecture, model.experts, model.fusion = "dtn", "masknet+hcnet+gdcn", fusion
    model.expert_dim, model.tower_hidden, model.normalisation = 256, (128, 64), "batch"
    model.gdcn.layers = 2
    model.masknet.mask_hidden, model.masknet.block_dim, model.masknet.blocks = 256, 128, 2
    model.masknet.hidden = (256,)
    schema = Schema("ali_ccp", tuple(Field(f"field_{i}") for i in range(23)), TASKS)
    codebooks = architectures.codebooks(model, schema)
    assert codebooks == 3
    pairs = 17 * 16 // 2
    size = count(architectures.build(model, schema), abstract_inputs(23, 64, pairs, codebooks))
    tables = codebooks * 100_000 * 64
    assert size.parameters + tables == parameters
    assert size.flops_per_example == flops


def test_the_published_mmoe():
    # Eight experts 368-128-64, two towers 64-128-64-1, two gates 368-8 without bias.
    model = get_config().model
    model.architecture, model.experts, model.expert_dim = "mmoe", "mlp*8", 64
    model.mlp.hidden, model.tower_hidden = (128,), (128, 64)
    schema = Schema("ali_ccp", tuple(Field(f"field_{i}") for i in range(23)), TASKS)
    size = count(architectures.build(model, schema), abstract_inputs(23, 16))
    products = 8 * (368 * 128 + 128 * 64) + 2 * (64 * 128 + 128 * 64 + 64) + 2 * 368 * 8
    biases = 8 * (128 + 64) + 2 * (128 + 64 + 1)
    assert size.parameters == products + biases
    assert size.flops_per_example == 2 * products
