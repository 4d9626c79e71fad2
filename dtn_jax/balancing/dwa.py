"""DWA, "End-to-End Multi-Task Learning with Attention" (Liu et al. 2019), its weight average."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer, Seen
from dtn_jax.options import option
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class DWA(Balancer):
    """A task whose loss falls slowly counts more. Equation 7 has

        w = T softmax(r / temperature),   r_t = (mean loss of the last period) / (of that before)

    The paper's period is an epoch. Here it is a number of steps, since recommenders are often
    trained for one epoch; r_t is 1 until there are two periods.
    """

    positive: ClassVar[bool] = True

    temperature: float = option(2.0, "large for more equal weights", above=0.0)
    period: int = option(1000, "steps whose mean loss is compared", least=1)

    def init_state(self, tasks: tuple[Task, ...]) -> Any:
        """Of this period the losses' sums and numbers; the means of the two before it, or 0."""
        zeros = jnp.zeros(len(tasks))
        return {"losses": zeros, "seen": zeros, "last": zeros, "before": zeros}

    def weights(self, learned, losses, state: Any, key, tasks) -> Float[Array, " T"]:
        known = state["before"] > 0
        r = jnp.where(known, state["last"] / jnp.where(known, state["before"], 1), 1)
        return len(tasks) * jax.nn.softmax(r / self.temperature)

    def update(self, state: Any, seen: Seen) -> Any:
        counts = seen.rows > 0
        sums = state["losses"] + jnp.where(counts, seen.losses, 0)
        times = state["seen"] + counts
        mean = jnp.where(times > 0, sums / jnp.maximum(times, 1), state["last"])
        zeros = jnp.zeros_like(sums)
        done = {"losses": zeros, "seen": zeros, "last": mean, "before": state["last"]}
        goes_on = {**state, "losses": sums, "seen": times}
        ends = (seen.step + 1) % self.period == 0
        return jax.tree.map(lambda a, b: jnp.where(ends, a, b), done, goes_on)
