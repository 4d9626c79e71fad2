"""The proportional-odds loss, for labels of a few ordered levels, such as stars.

Letters: B batch, K levels.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.errors import UserError
from dtn_jax.options import option, pairs
from dtn_jax.shapes import Array, Float, Float64

FORM = "LEVEL=SHARE"


@dataclasses.dataclass(frozen=True)
class Ordinal:
    """-log P(y = v_j), P(y <= v_j) = sigmoid(theta_j - z) (McCullagh 1980, proportional odds).

    The cut points theta_j are given, not learned: the log-odds of what the levels' shares add up to
    so far, so that z = 0 says just these shares. A label counts as the level nearest to it, the
    lower one of two. The prediction is the expected level, v_1 + sum_j (v_{j+1} - v_j) P(y > v_j).

    Raises:
      UserError: `levels` has fewer than two, no rising numbers, or shares that are not above 0.
    """

    kind = "regression"
    meaning = "the expected level"
    levels: str = option(
        "1=1,2=1,3=1,4=1,5=1",
        "the label's levels, rising, each with its share of the train rows, '1=6,2=11,3=27'; they "
        "need not sum to 1",
    )

    def __post_init__(self) -> None:
        self.known()

    def known(self) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, " K1"]]:
        """The levels `[K]`, and the cut points between them, `[K - 1]`."""
        what = "loss.ordinal.levels"
        given = pairs(self.levels, what, FORM)
        try:
            levels = np.array([float(level) for level in given])
            shares = np.array([float(share) for share in given.values()])
        except ValueError:
            raise UserError(f"{what}: expected numbers, {FORM}, got {self.levels!r}") from None
        if len(levels) < 2 or not (np.isfinite(levels).all() and (np.diff(levels) > 0).all()):
            raise UserError(f"{what}: expected two levels or more, rising, got {self.levels!r}")
        if not (np.isfinite(shares).all() and (shares > 0).all()):
            raise UserError(f"{what}: expected shares above 0, got {self.levels!r}")
        below, above = np.cumsum(shares)[:-1], np.cumsum(shares[::-1])[::-1][1:]
        return levels, np.log(below) - np.log(above)

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Nats; a regression task has no positives, so `w` is 1.

        With a = theta_{j-1} - z and b = z - theta_j, it is softplus(a) + softplus(b) -
        log(1 - exp(a + b)), for sigmoid(u) - sigmoid(v) = sigmoid(u) sigmoid(-v) (1 - exp(v - u)).
        """
        levels, cuts = self.known()
        middles = jnp.asarray((levels[1:] + levels[:-1]) / 2, z.dtype)
        level = (y[:, None] > middles[None]).sum(axis=1)
        ends = jnp.asarray([-np.inf, *cuts, np.inf], z.dtype)
        between = -np.log1p(-np.exp(-np.diff(cuts)))  # the ends have none
        low, high = jax.nn.softplus(ends[level] - z), jax.nn.softplus(z - ends[level + 1])
        return low + high + jnp.asarray([0.0, *between, 0.0], z.dtype)[level]

    def prediction(self, z: Float[Array, " B"]) -> Float[Array, " B"]:
        """The expected level, in the label's unit."""
        levels, cuts = self.known()
        above = jax.nn.sigmoid(z[:, None] - jnp.asarray(cuts, z.dtype)[None])  # [B, K - 1]
        gaps = jnp.asarray(np.diff(levels), z.dtype)[None]
        return levels[0].astype(z.dtype) + (above * gaps).sum(axis=1)
