"""DIN, "Deep Interest Network for Click-Through Rate Prediction" (Zhou et al., KDD 2018).

Equation 3: what a user has had to do with is weighed by the item at hand,

    v(A) = Σ_s a(e_s, v_A) e_s

with a small network a, and without a softmax, so that the weights' sum tells how much of the
history speaks for the item. As in the authors' code a reads [v_A, e_s, v_A - e_s, v_A ∘ e_s]; the
first three are linear in two, so here its first layer has a product with v_A, made once, and one
with [e_s, v_A ∘ e_s].

Letters: B batch, S slots of the history, D embedding width, K hidden width.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.models.histories.pooling import Pooling
from dtn_jax.models.layers import at_least_float32, dense, hidden_layers
from dtn_jax.models.tokens import masked_softmax
from dtn_jax.options import option
from dtn_jax.shapes import Array


class DIN(Pooling):
    """Equation 3; its weights are those of the authors' activation unit."""

    hidden: tuple[int, ...] = option((36,), "widths of DIN's activation unit")
    softmax: bool = option(False, "DIN's weights sum to 1, which the paper's do not")

    @nn.compact
    def pooled(self, target: Array, items: Array, present: Array, train: bool) -> Array:
        batch, slots, width = items.shape
        first, *rest = self.hidden
        pairs = jnp.concatenate([items, target[:, None] * items], axis=-1).reshape(-1, 2 * width)
        x = dense(first, self.dtype, name="pairs")(pairs).reshape(batch, slots, first)
        x = x + dense(first, self.dtype, name="target", use_bias=False)(target)[:, None]
        x = nn.PReLU(param_dtype=at_least_float32(self.dtype))(x).reshape(-1, first)
        x = hidden_layers(x, rest, self.dtype, 0.0, train)
        weights = dense(1, self.dtype, name="weight")(x).reshape(batch, slots)
        weights = weights.astype(at_least_float32(self.dtype))
        if self.softmax:
            weights = masked_softmax(weights, present)
        weights = jnp.where(present, weights, 0)
        return jnp.einsum("bs,bsd->bd", weights, items.astype(weights.dtype))
