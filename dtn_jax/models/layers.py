"""The layers that experts, gates and towers are built of.

Letters: B batch, F fields, D embedding width, W = F*D the width of the flat input, P = F(F-1)/2
pairs of fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.models.dropout import Dropout
from dtn_jax.shapes import Array, Float
from dtn_jax.tables.addresses import pairs

PARTS = 8  # fields as which a plain vector is read


def at_least_float32(dtype: Any) -> Any:
    """The dtype of parameters, softmaxes and statistics when the products run in `dtype`."""
    return jnp.promote_types(dtype, jnp.float32)


def flat(fields: Float[Array, "B F D"]) -> Float[Array, "B W"]:
    """The field embeddings of an example as one vector."""
    return fields.reshape(fields.shape[0], -1)


def dense(
    width: int,
    dtype: Any,
    *,
    name: str,
    use_bias: bool = True,
    product: Float[Array, "B K"] | None = None,
) -> nn.Dense:
    """x W (+ b), Glorot uniform and zero: called inside a module, it becomes part of it.

    `product` is x W where it was computed before, beside others (`side_by_side`).
    """
    known = {} if product is None else {"dot_general": lambda *_, **__: product}
    return nn.Dense(
        width,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=at_least_float32(dtype),
        kernel_init=nn.initializers.glorot_uniform(),
        name=name,
        **known,
    )


def side_by_side(
    x: Float[Array, "B W"], kernels: Sequence[Float[Array, "W ..."]], dtype: Any
) -> list[Float[Array, "B ..."]]:
    """x times each of the kernels, as one product.

    Alone, products of a few dozen columns leave a CPU below half its rate, and the gradient of x
    is a sum of as many arrays of its size.
    """
    ends = np.cumsum([kernel.shape[1] for kernel in kernels])[:-1]
    joined = jnp.concatenate(kernels, axis=1).astype(dtype)
    return jnp.split(x.astype(dtype) @ joined, ends, axis=1)


def hidden_layers(
    x: Float[Array, "B K"],
    widths: Sequence[int],
    dtype: Any,
    dropout: float,
    train: bool,
    first: Float[Array, "B K1"] | None = None,
    scales: Sequence[Float[Array, "B _"]] = (),
    name: str = "hidden",
) -> Float[Array, "B L"]:
    """A relu layer for each of `widths`, dropout after each; `first` as `product` in `dense`.

    `scales` multiply what the layers read, where there are any; the layers are `NAME_0` and so on.
    """
    for layer, width in enumerate(widths):
        product = None if layer else first
        x = x * scales[layer] if scales else x
        x = nn.relu(dense(width, dtype, name=f"{name}_{layer}", product=product)(x))
        x = Dropout(dropout)(x, train)
    return x


def two_layers(
    x: Float[Array, "*B K"],
    hidden: int,
    size: int,
    dtype: Any,
    name: str,
    use_bias: bool = True,
) -> Float[Array, "*B size"]:
    """relu(x A + a) B + b, inside of a module: `NAME_hidden` and `NAME`."""
    x = nn.relu(dense(hidden, dtype, name=f"{name}_hidden", use_bias=use_bias)(x))
    return dense(size, dtype, name=name, use_bias=use_bias)(x)


def layer_norm(
    x: Float[Array, "*B K"], dtype: Any, name: str, epsilon: float = 1e-6
) -> Float[Array, "*B K"]:
    """x of mean 0 and variance 1 along its last axis, scaled and shifted (Ba et al. 2016); one
    number alone, which would become 0, stays as it is."""
    if x.shape[-1] == 1:
        return x
    # The two-pass variance cannot turn negative, which matters next to a small epsilon.
    how = {"epsilon": epsilon, "use_fast_variance": False}
    exact = at_least_float32(dtype)
    return nn.LayerNorm(**how, dtype=exact, param_dtype=exact, name=name)(x).astype(dtype)


def equal_parts(x: Float[Array, "B W"], parts: int) -> Float[Array, "B parts _"]:
    """x cut into equal parts; zeros fill up the last."""
    size = -(-x.shape[-1] // parts)
    return jnp.pad(x, ((0, 0), (0, parts * size - x.shape[-1]))).reshape(-1, parts, size)


def as_fields(fields: Float[Array, "B F D"]) -> Float[Array, "B F2 D2"]:
    """What an expert of pairs of fields reads: the fields; of a plain vector `[B, 1, W]`, such as
    the second level of PLE hands on, eight equal parts."""
    return equal_parts(flat(fields), PARTS) if fields.shape[1] == 1 else fields


def inner_products(e: Float[Array, "B F D"]) -> Float[Array, "B P"]:
    """<e_i, e_j> for i < j."""
    first, second = pairs(e.shape[1])
    return jnp.einsum("bfd,bgd->bfg", e, e)[:, first, second]
