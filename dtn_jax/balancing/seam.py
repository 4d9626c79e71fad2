"""Where a training step meets a balancer: before its backward pass, and after it.

A step without a balancer comes by none of this.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer, Learned
from dtn_jax.data.epochs import batch_axis
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float

LEARNED = "balancing"  # the place, among the dense parameters, of what a balancer learns


def with_learned(params: dict, balancer: Balancer | None, tasks: tuple[Task, ...]) -> dict:
    """A model's new parameters, and the balancer's where it has any."""
    learned = balancer.init(tasks) if balancer else {}
    return {**params, LEARNED: learned} if learned else params


def weights_of(balancer: Balancer, params: dict, tasks: tuple[Task, ...]) -> Float[Array, " T"]:
    """What the balancer multiplies each task's loss by in this step."""
    return balancer.weights(params.get(LEARNED, {}), tasks)


def with_learned_gradient(
    dense: dict,
    balancer: Balancer,
    params: dict,
    losses: Float[Array, " T"],
    tasks: tuple[Task, ...],
) -> dict:
    """The gradient of the dense parameters, now of what the balancer learns too.

    Args:
      dense: of the whole batch; it is 0 for what is learned, which the model does not read.
      balancer: the balancer.
      params: the dense parameters.
      losses: of the whole batch, times the tasks' own weights.
      tasks: of the schema.
    """

    def objective(learned: Learned):
        return jnp.sum(balancer.weights(learned, tasks) * losses) + balancer.penalty(learned)

    return {**dense, LEARNED: jax.grad(objective)(params[LEARNED])} if LEARNED in params else dense


def combined(
    balancer: Balancer,
    rows: Float[Array, "B V L D"],
    by_task: Float[Array, "B T L D"],
    view: int,
    key: Array,
) -> tuple[Float[Array, "B V L D"], Float[Array, " T"]]:
    """The gradient by looked-up row, the tasks' combined by the balancer, and its coefficients.

    Args:
      balancer: one that reads gradients.
      rows: the plain sum of the tasks' gradients, auxiliary losses included, for all V views.
      by_task: the tasks' gradients for the rows of one view.
      view: its place in `rows`.
      key: of this step.
    """
    exact = jax.lax.Precision.HIGHEST  # an accelerator would round products to fewer bits
    gram = jnp.einsum("btld,bsld->ts", by_task, by_task, precision=exact)
    c = balancer.coefficients(batch_axis.total(gram), key)
    moved = jnp.sum((c - 1)[None, :, None, None] * by_task, axis=1)
    return rows.at[:, view].add(moved), c
