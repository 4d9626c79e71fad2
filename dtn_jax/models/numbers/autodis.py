"""AutoDis: a number picks, softly, among embeddings that its field learns.

Guo, Chen, Tang, Zhang, Li and He (2021): An Embedding Learning Framework for Numerical Features in
CTR Prediction, section 3: meta-embeddings, automatic discretization, and aggregation by the
weighted average.
"""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from dtn_jax.models.layers import at_least_float32
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float

LEAK = 0.01  # of the leaky relu


class AutoDis(nn.Module):
    """f(x) = sum over h of p_h ME_h, a convex combination of the H meta-embeddings ME `[H, D]`:

        u = leaky_relu(w x),  z = W u + α u,  p = softmax(z / τ),  w [H], W [H, H]

    As the p_h add up to 1, r + f(x) is one too, of the r + ME_h. All numbers of one sign rank the
    ME alike, for z is |x| times what their sign gives: the mix is even at 0, and sharper beyond.

    Attributes:
      width: D.
      scale: standard deviation of the initial ME; w and W are Glorot uniform.
      dtype: of the products with W and ME; the softmax has at least float32.
      meta_embeddings: that of the authors' code for Criteo.
      temperature: not that of their code, 1e-5, where z begins within ±0.01 times x and no W
        follows: this one makes z / τ begin at the size of a standardised x.
      skip: of ours.
    """

    width: int
    scale: float
    dtype: Any
    meta_embeddings: int = option(20, "H, the embeddings to pick from", least=1, below=2**31)
    temperature: float = option(
        0.1,
        "τ: near 0 a number picks a single one, as a bucket does; large ones mix all",
        above=0.0,
    )
    skip: float = option(0.1, "α, the weight of the skip connection around W", least=0)

    @nn.compact
    def __call__(self, x: Float[Array, " B"]) -> Float[Array, "B D"]:
        """f(x), for standardised numbers x."""
        wide, count = at_least_float32(self.dtype), self.meta_embeddings
        glorot = nn.initializers.glorot_uniform()
        w = self.param("w", glorot, (1, count), wide)
        W = self.param("W", glorot, (count, count), wide)
        normal = nn.initializers.normal(self.scale)
        embeddings = self.param("meta_embeddings", normal, (count, self.width), wide)
        u = nn.leaky_relu(x.astype(wide)[:, None] * w, LEAK)
        z = (u.astype(self.dtype) @ W.astype(self.dtype)).astype(wide) + self.skip * u
        p = nn.softmax(z / self.temperature)
        return p.astype(self.dtype) @ embeddings.astype(self.dtype)
