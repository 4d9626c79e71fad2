from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.models.layers import dense, flat, hidden_layers
from dtn_jax.options import option


class InnerProducts(nn.Module):
    """f = relu(h W + b), h relu layers on [x, <e_i, e_j> for i < j] (PNN, Qu et al. 2016)."""

    width: int  # H, the experts' common width: model.expert_dim
    hidden: tuple[int, ...] = option((64,), "hidden widths after the products")
    dropout: float = 0.0  # given, as model.dropout, to an expert that has the attribute
    dtype: Any = jnp.float32  # of the computation

    @nn.compact
    def __call__(self, fields, codewords, train):
        e = fields.astype(self.dtype)  # [B, F, D]
        first, second = np.triu_indices(e.shape[1], k=1)
        products = jnp.einsum("bid,bjd->bij", e, e)[:, first, second]  # [B, F (F - 1) / 2]
        x = jnp.concatenate([flat(e), products], axis=-1)
        h = hidden_layers(x, self.hidden, self.dtype, self.dropout, train)
        return nn.relu(dense(self.width, self.dtype, name="output")(h))  # [B, H]


EXPERTS = {"inner": InnerProducts}
