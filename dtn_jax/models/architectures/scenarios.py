"""Architectures with weights of each scenario's own, such as a page's or a market's.

All scenarios' outputs are computed, and a row's own is picked: gathering a row's weights would move
more bytes than the products cost. Letters: B batch, P scenarios, K width of a layer's input.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.dropout import Dropout
from dtn_jax.models.layers import at_least_float32
from dtn_jax.models.tokens import PerToken
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float, Int

MOST = 500  # scenarios: every row pays for each of them


class ByScenario(Architecture):
    """An architecture that reads one categorical field of few values.

    Attributes:
      scenarios: P, the rows of that field's table.
    """

    scenarios: int = 0
    scenario: tuple[str, ...] = option(
        (), "the field of scenarios; () that of the role scenario", items=str, role="scenario"
    )

    @classmethod
    def check(cls, schema, own):
        fields = [field for field in schema.read if field.name in own.scenario]
        if len(fields) != 1 or fields[0].kind != "categorical":
            raise UserError(
                f"{cls.__name__} reads one categorical field, got {','.join(own.scenario)!r}: "
                f"choose it by model.{cls.__name__.lower()}.scenario=FIELD"
            )
        if (rows := fields[0].rows) > MOST:
            raise UserError(
                f"scenario={fields[0].name} has {rows:,} values; {cls.__name__} has weights for "
                f"each, and takes at most {MOST}"
            )
        super().check(schema, own)

    def scenario_of(self, inputs: Inputs) -> Float[Array, "B P"]:
        """1 at each row's scenario; the unknown id, 0, is one. Padding counts as unknown."""
        ids: Int[Array, " B"] = jnp.maximum(inputs.ids[self.scenario[0]], 0)
        return jax.nn.one_hot(ids, self.scenarios, dtype=at_least_float32(self.dtype))

    def scenario_towers(
        self, task: str, h: Float[Array, "B P K"], train: bool
    ) -> Float[Array, "B P"]:
        """The scores of a task, by a tower of each scenario's own."""
        options = {name: value for name, value in self.tower.keywords.items() if name != "outputs"}
        return ScenarioTowers(name=f"tower_{task}", **options)(h, train)


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


class ScenarioTowers(nn.Module):
    """Hidden relu layers and a score, of each scenario's own."""

    hidden: tuple[int, ...]
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, h: Float[Array, "B P K"], train: bool) -> Float[Array, "B P"]:
        """The score of each scenario."""
        for layer, width in enumerate(self.hidden):
            h = PerToken(width, self.dtype, name=f"hidden_{layer}")(h)
            h = Dropout(self.dropout)(nn.relu(h), train)
        return PerToken(1, at_least_float32(self.dtype), name="logit")(h)[:, :, 0]
