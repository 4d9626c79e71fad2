"""GradNorm, "Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks" (Chen
et al. 2018)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer, Seen
from dtn_jax.options import option
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class GradNorm(GradientBalancer):
    """Weights that give the tasks' gradients like lengths, longer for tasks that learn slowly.

        l = Σ_t |G_t / Ḡ - r_t^alpha|,   G_t = |∇ w_t L_t|,   r_t = (L_t / L_t(0)) / their mean

    (equation 2, over the mean length Ḡ, which takes the losses' units away). A step in log w
    descends l with Ḡ and r constant, then w is scaled to a sum of T. The paper's steps are in w,
    and can make a weight 0. L_t(0) is the first loss; lengths are those at the shared embeddings,
    in the paper at the last shared layer.
    """

    positive: ClassVar[bool] = True

    alpha: float = option(1.5, "how much longer the gradients of slow tasks become", least=0.0)
    rate: float = option(0.01, "of a step in the logarithm of the weights", above=0.0, below=1.0)

    def init_state(self, tasks: tuple[Task, ...]) -> Any:
        """The weights, and the first losses, 0 until they are known."""
        return {"weights": jnp.ones(len(tasks)), "first": jnp.zeros(len(tasks))}

    def weights(self, learned, losses, state: Any, key, tasks) -> Float[Array, " T"]:
        return state["weights"]

    def update(self, state: Any, seen: Seen) -> Any:
        first = jnp.where(state["first"] > 0, state["first"], seen.losses)
        has = (seen.norms > 0) & (first > 0)
        n = jnp.maximum(has.sum(), 1)
        ratio = jnp.where(has, seen.losses / jnp.where(has, first, 1), 0)
        r = ratio / jnp.maximum(ratio.sum() / n, 1e-30)
        G = jnp.where(has, seen.norms, 0)
        G = G / jnp.maximum(G.sum() / n, 1e-30)
        slope = jnp.sign(G - jnp.where(has, r, 1) ** self.alpha) * G
        w = state["weights"] * jnp.exp(-self.rate * slope)
        return {"weights": len(w) * w / w.sum(), "first": first}
