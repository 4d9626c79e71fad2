"""What a balancer may say; what it does not say leaves the tasks as they are."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float

Learned = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Balancer:
    """See `dtn_jax.balancing` for the two places that it acts in.

    Attributes:
      reads_gradients: whether it has `coefficients`; only then are gradients taken by task.
    """

    reads_gradients: ClassVar[bool] = False

    def init(self, tasks: tuple[Task, ...]) -> Learned:
        """What it learns, at step 0; {} where it learns nothing."""
        return {}

    def weights(self, learned: Learned, tasks: tuple[Task, ...]) -> Float[Array, " T"]:
        """What each task's loss is multiplied by."""
        return jnp.ones(len(tasks))

    def penalty(self, learned: Learned) -> Float[Array, ""]:
        """What is added to the loss, so that the weights have an optimum."""
        return jnp.zeros(())

    def coefficients(self, gram: Float[Array, "T T"], key: Array) -> Float[Array, " T"]:
        """What each task's gradient is multiplied by.

        Args:
          gram: the products g_t · g_s of the tasks' gradients.
          key: of this step, for methods that draw.
        """
        return jnp.ones(len(gram))
