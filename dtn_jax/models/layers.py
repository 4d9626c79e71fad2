"""The layers that experts, gates and towers are built of.

Letters: B batch, F fields, D embedding width, W = F*D the width of the flat input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.models.dropout import Dropout
from dtn_jax.shapes import Array, Float


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
) -> Float[Array, "B L"]:
    """A relu layer for each of `widths`, dropout after each; `first` as `product` in `dense`."""
    for layer, width in enumerate(widths):
        product = None if layer else first
        x = nn.relu(dense(width, dtype, name=f"hidden_{layer}", product=product)(x))
        x = Dropout(dropout)(x, train)
    return x
