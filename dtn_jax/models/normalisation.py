"""Normalisation of the flattened embeddings that the experts read.

Letters: B batch, F fields, D embedding width, W = F*D.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.data.epochs import batch_axis
from dtn_jax.models.layers import at_least_float32, flat, layer_norm
from dtn_jax.shapes import Array, Bool, Float

NORMALISATIONS = ("none", "batch", "layer")
MOMENTUM, EPSILON = 0.99, 1e-3  # of batch normalisation


class MaskedBatchNorm(nn.Module):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, statistics over the unmasked rows.

    In training they are the batch's and move the running ones of collection `batch_stats`;
    otherwise they are the running ones. Those are the plain mean over the batches so far until
    MOMENTUM takes over, so that a short run is not scored with the initial 0 and 1. (flax's
    own module divides by zero when every row is masked, as happens to the last, padded batches.)
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, "B W"], row_mask: Bool[Array, " B"], train: bool
    ) -> Float[Array, "B W"]:
        """y; masked rows are normalised too, but do not count."""
        dtype = at_least_float32(x.dtype)
        x = x.astype(dtype)
        shape = (x.shape[1],)
        gamma = self.param("gamma", nn.initializers.ones, shape, dtype)
        beta = self.param("beta", nn.initializers.zeros, shape, dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, dtype)
        batches = self.variable("batch_stats", "batches", jnp.zeros, (), dtype)
        mean, var = running_mean.value, running_var.value
        if train:
            rows = batch_axis.total(jnp.sum(row_mask, dtype=dtype))
            mean = _masked_sum(x, row_mask) / jnp.maximum(rows, 1)
            var = _masked_sum(jnp.square(x - mean[None]), row_mask) / jnp.maximum(rows, 1)
            if not self.is_initializing():
                counted = (rows > 0).astype(dtype)
                batches.value += counted
                step = counted * jnp.maximum(1 - MOMENTUM, 1 / jnp.maximum(batches.value, 1))
                running_mean.value += step * (mean - running_mean.value)
                running_var.value += step * (var - running_var.value)
        scale = gamma / jnp.sqrt(var + EPSILON)
        return (x - mean[None]) * scale[None] + beta[None]


def _masked_sum(x: Float[Array, "B W"], row_mask: Bool[Array, " B"]) -> Float[Array, " W"]:
    return batch_axis.total(jnp.sum(jnp.where(row_mask[:, None], x, 0), axis=0))


class Normalisation(nn.Module):
    """`kind` is one of NORMALISATIONS; `batch` and `layer` have 2 F D trainable parameters."""

    kind: str = "none"

    @nn.compact
    def __call__(
        self, fields: Float[Array, "B F D"], row_mask: Bool[Array, " B"], train: bool
    ) -> Float[Array, "B F D"]:
        """The normalised fields; with `none`, the fields as they are."""
        if self.kind == "none":
            return fields
        if self.kind == "batch":
            y = MaskedBatchNorm(name="batch")(flat(fields), row_mask, train)
        else:
            y = layer_norm(flat(fields), at_least_float32(fields.dtype), "layer")
        return y.reshape(fields.shape)
