"""Uncertainty weighting, "Multi-Task Learning Using Uncertainty to Weigh Losses" (Kendall et al.
2018)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from dtn_jax.balancing.balancer import Balancer, Learned
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class Uncertainty(Balancer):
    """A task whose labels are noisy counts less, and the noise is learned.

    Descends Σ_t a_t exp(-s_t) L_t + s_t / 2, with s_t = log σ_t² learned from 0.
    a = 1 for binary tasks, 1/2 for regression (the paper's equations 5 and 10). So a task's best
    weight is 1 / (2 L_t), for both kinds.
    """

    positive: ClassVar[bool] = True

    def init(self, tasks: tuple[Task, ...]) -> Learned:
        """{log_variance: `[T]`}."""
        return {"log_variance": jnp.zeros(len(tasks))}

    def weights(self, learned: Learned, losses, state, key, tasks) -> Float[Array, " T"]:
        halves = np.array([0.5 if task.kind == "regression" else 1.0 for task in tasks])
        s = learned["log_variance"]
        return jnp.asarray(halves, s.dtype) * jnp.exp(-s)

    def penalty(self, learned: Learned) -> Float[Array, ""]:
        return jnp.sum(learned["log_variance"]) / 2
