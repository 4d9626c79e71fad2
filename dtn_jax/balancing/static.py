"""Static weights, tuned on validation: what a method must beat (Xin et al., "Do Current Multi-Task
Optimization Methods in Deep Learning Even Help?", 2022)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.options import option, per_task
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class Static(Balancer):
    """One weight per task, the same in all steps.

    They multiply `loss.task_weights`, which stay for what a loss's unit makes of it under every
    balancer.
    """

    task_weights: str = option(
        "",
        "the weights, 'click=1,order=0.5'; tasks not named have 1. A sweep's space suggests a "
        "number a task and joins them",
    )

    def init_state(self, tasks: tuple[Task, ...]) -> Any:
        """None; raises UserError where the weights name what is no task, or are no numbers."""
        self._of(tasks)
        return {}

    def weights(self, learned, losses, state, key, tasks: tuple[Task, ...]) -> Float[Array, " T"]:
        return jnp.array(self._of(tasks))

    def _of(self, tasks: tuple[Task, ...]) -> list[float]:
        names = tuple(task.name for task in tasks)
        return [*per_task(self.task_weights, names, "loss.static.task_weights", 1.0).values()]
