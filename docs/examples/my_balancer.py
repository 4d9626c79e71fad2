import dataclasses

import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.options import option


@dataclasses.dataclass(frozen=True)
class EqualLosses(Balancer):
    """Each task's loss is divided by its moving average, which begins at 1."""

    decay: float = option(0.99, "of the average: near 1 for a long memory", least=0.0, below=1.0)

    def init_state(self, tasks):
        return jnp.ones(len(tasks))

    def weights(self, learned, losses, state, key, tasks):
        return 1 / state

    def update(self, state, seen):
        return jnp.where(seen.rows > 0, self.decay * state + (1 - self.decay) * seen.losses, state)


BALANCERS = {"equal_losses": EqualLosses}
