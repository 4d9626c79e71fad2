"""Layers with weights of each scenario's own, such as a page's or a market's.

All scenarios' outputs are computed, and a row's own is picked: gathering a row's weights would move
more bytes than the products cost. Letters: B batch, P scenarios, K width of a layer's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs
from dtn_jax.models.layers import at_least_float32
from dtn_jax.shapes import Array, Float, Int

MOST = 500  # scenarios: every row pays for each of them


def check_scenario(name: str, schema: Any, fields: Sequence[str]) -> None:
    """Raises UserError unless `fields` is one categorical field of few values."""
    known = {field.name: field for field in schema.read}
    if len(fields) != 1 or known[fields[0]].kind != "categorical":
        raise UserError(f"model.{name}.scenario={','.join(fields)}: expected one categorical field")
    if (rows := known[fields[0]].rows) > MOST:
        raise UserError(
            f"model.{name}.scenario={fields[0]} has {rows:,} values; {name} has weights for each, "
            f"and takes at most {MOST}"
        )


def scenario_of(inputs: Inputs, fields: Sequence[str], scenarios: int) -> Float[Array, "B P"]:
    """1 at each row's scenario; the unknown id, 0, is one. Padding counts as unknown."""
    ids: Int[Array, " B"] = jnp.maximum(inputs.ids[fields[0]], 0)
    return jax.nn.one_hot(ids, scenarios)


class StarLayer(nn.Module):
    """x (W_p * W) + b_p + b of a row of scenario p (STAR, equation 6); W_p is 1 at first."""

    scenarios: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B K"], at: Float[Array, "B P"]) -> Float[Array, "B width"]:
        """Each row's by its own scenario."""
        P, K, exact = self.scenarios, x.shape[-1], at_least_float32(self.dtype)
        glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros
        W = self.param("kernel", glorot, (K, self.width), exact)
        b = self.param("bias", zeros, (self.width,), exact)
        W_p = self.param("scenario_kernel", nn.initializers.ones, (P, K, self.width), exact)
        b_p = self.param("scenario_bias", zeros, (P, self.width), exact)
        y = jnp.einsum("bk,pkn->bpn", x, (W_p * W[None]).astype(self.dtype))
        y = y + (b_p + b[None])[None].astype(self.dtype)
        return jnp.einsum("bpn,bp->bn", y, at.astype(self.dtype))
