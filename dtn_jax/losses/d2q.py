"""D2Q: watch time as a quantile among videos of about the same duration.

A long video is watched for longer whatever a user thinks of it. So a label is compared with train's
labels of its own group of durations alone, and becomes its quantile there; a model learns that
quantile, and the group's distribution makes seconds of it again (Zhan et al., "Deconfounding
Duration Bias in Watch-time Prediction for Video Recommendation", KDD 2022).

Letters: B batch, G groups, Q quantiles.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.errors import UserError
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class D2Q:
    """(sigmoid(z) - F_g(y))^2, of a label y in the group g; the prediction is F_g^-1(sigmoid(z)).

    A group is a bucket of `field`; bucket 0 has the rows whose duration is unknown. F_g is the
    distribution function of train's labels in the group, given by the quantiles q_0 <= ... <=
    q_{Q-1} of 0, 1 / (Q - 1), ..., 1 and linear between them:

        F_g(y) = (k + (y - q_k) / (q_{k+1} - q_k)) / (Q - 1)        q_k < y < q_{k+1}
        F_g^-1(u) = q_k + (u (Q - 1) - k) (q_{k+1} - q_k)           k = floor(u (Q - 1))

    A label that equals several quantiles, as 0 often does, has their middle rank. One beyond q_0 or
    q_{Q-1} has 0 or 1, so that a prediction is never outside of the group's labels in train. A
    group of fewer labels than Q has the distribution of all rows.

    Attributes:
      points: `[G, Q]`, as label_quantiles.py finds them in train.
    """

    kind = "regression"
    reads = "field"
    meaning = "the label at its mean quantile for the duration"
    field: str = option(
        "",
        "the video's duration, a numeric field in buckets; a label becomes its quantile within one",
    )
    quantiles: int = option(
        100,
        "numbers that give the distribution of train's labels in a bucket; one with fewer labels "
        "has that of all rows",
        least=2,
        most=1000,
    )
    points: tuple[tuple[float, ...], ...] = ()

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float, groups: Int[Array, " B"]
    ) -> Float[Array, " B"]:
        """Squared quantiles, from 0 to 1; a regression task has no positives, so `w` is 1."""
        return jnp.square(jax.nn.sigmoid(z) - self.quantile(y, groups))

    def quantile(self, y: Float[Array, " B"], groups: Int[Array, " B"]) -> Float[Array, " B"]:
        """F_g(y)."""
        points = self._known(y.dtype).at[groups].get(mode="clip")  # [B, Q]
        last = points.shape[1] - 1
        below, until = (points < y[:, None]).sum(axis=1), (points <= y[:, None]).sum(axis=1)
        k = jnp.maximum(below - 1, 0)
        low, high = (
            jnp.take_along_axis(points, place[:, None], axis=1)[:, 0]
            for place in (k, jnp.minimum(below, last))
        )
        between = k + jnp.where(high > low, (y - low) / jnp.where(high > low, high - low, 1), 0)
        place = jnp.where(until > below, (below + until - 1) / 2, between)
        return place.astype(y.dtype) / last

    def prediction(self, z: Float[Array, " B"], groups: Int[Array, " B"]) -> Float[Array, " B"]:
        """F_g^-1(sigmoid(z)), in the label's unit."""
        points = self._known(z.dtype)
        place = jax.nn.sigmoid(z) * (points.shape[1] - 1)
        k = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, points.shape[1] - 2)
        groups = jnp.clip(groups, 0, len(points) - 1)
        low, high = points[groups, k], points[groups, k + 1]
        return jnp.minimum(low + (place - k) * (high - low), high)

    def _known(self, dtype: jnp.dtype) -> Float[Array, "G Q"]:
        if not self.points:
            raise UserError("the loss d2q has no quantiles yet: they are found when a run is built")
        return jnp.asarray(np.array(self.points), dtype)
