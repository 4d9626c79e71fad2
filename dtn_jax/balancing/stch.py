"""STCH, "Smooth Tchebycheff Scalarization for Multi-Objective Optimization" (Lin et al. 2024)."""

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
class STCH(Balancer):
    """Descends a smooth maximum of the tasks' log losses, relative to what they were at first.

        T μ log Σ_t exp(log(L_t / n_t) / μ),   so   w_t = T softmax(log(L / n) / μ)_t / L_t

    as the authors' code for multi-task learning has it. n_t is the task's mean loss over the first
    `warmup` steps, in which Σ_t log L_t is descended: w_t = 1 / L_t. A loss of 0 has the weight 0.
    """

    positive: ClassVar[bool] = True
    reads_losses: ClassVar[bool] = True
    mu: float = option(1.0, "how smooth the maximum is; small for the worst task alone", above=0.0)
    warmup: int = option(
        100, "first steps, over which the losses to compare with are taken", least=1
    )

    def init_state(self, tasks: tuple[Task, ...]) -> Any:
        """The sums of the first losses, how many there were, and the steps done."""
        zeros = jnp.zeros(len(tasks))
        return {"losses": zeros, "seen": zeros, "steps": jnp.zeros((), jnp.int32)}

    def weights(self, learned, losses: Array, state: Any, key, tasks) -> Float[Array, " T"]:
        has, known = losses != 0, state["losses"] > 0
        L = jnp.where(has, losses, 1)
        first = jnp.where(known, state["losses"] / jnp.maximum(state["seen"], 1), L)
        worst = jax.nn.softmax(jnp.where(has, jnp.log(L / first) / self.mu, -jnp.inf))
        warm = state["steps"] >= self.warmup
        return jnp.where(has, jnp.where(warm, len(tasks) * worst, 1) / L, 0)

    def update(self, state: Any, seen: Seen) -> Any:
        counts = (seen.rows > 0) & (state["steps"] < self.warmup)
        return {
            "losses": state["losses"] + jnp.where(counts, seen.losses, 0),
            "seen": state["seen"] + counts,
            "steps": state["steps"] + 1,
        }
