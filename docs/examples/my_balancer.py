import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.options import option


@dataclasses.dataclass(frozen=True)
class EqualLengths(Balancer):
    """Every task's gradient is made as long as the longest one (DB-MTL, Lin et al. 2023).

    c_t = (max_s |g_s| / |g_t|)^strength; a task without a gradient keeps c_t = 1.
    """

    reads_gradients: ClassVar[bool] = True
    strength: float = option(1.0, "0 leaves the gradients as they are", least=0.0, most=1.0)

    def coefficients(self, gram, key):
        """gram [T, T] holds <g_t, g_s>, over the whole batch; returns c [T]."""
        length = jnp.sqrt(jnp.diagonal(gram))
        longest = length.max()
        return jnp.where(length > 0, longest / jnp.where(length > 0, length, 1), 1) ** self.strength


BALANCERS = {"equal_lengths": EqualLengths}
