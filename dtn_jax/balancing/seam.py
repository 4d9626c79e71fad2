"""Where a training step meets a balancer: before its backward pass, and after it.

A step without a balancer comes by none of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer, BalancerFails, Learned, Seen, called, place
from dtn_jax.data.epochs import batch_axis
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Bool, Float, Int

FAULTS = ("weights", "coefficients", "update", "penalty")  # that may give what is not finite
LEARNED = "balancing"  # the place, among the dense parameters, of what a balancer learns


def with_learned(params: dict, balancer: Balancer | None, tasks: tuple[Task, ...]) -> dict:
    """A model's new parameters, and the balancer's where it has any."""
    learned = called(balancer, "init", tasks) if balancer else {}
    return {**params, LEARNED: learned} if learned else params


def first_state(balancer: Balancer | None, tasks: tuple[Task, ...]) -> Any:
    """What a balancer keeps, at step 0."""
    return called(balancer, "init_state", tasks) if balancer else {}


class Balancing(NamedTuple):
    """A balancer in one step. Losses are of the whole batch, times the tasks' own weights.

    Attributes:
      balancer: the balancer.
      tasks: of the schema.
      learned: what it learns; {} where nothing.
      state: what it keeps from step to step.
      key: of this step.
      rows: how many rows of the whole batch count in each task's loss.
    """

    balancer: Balancer
    tasks: tuple[Task, ...]
    learned: Learned
    state: Any
    key: Array
    rows: Int[Array, " T"]

    def weights(self, losses: Float[Array, " T"] | None) -> Float[Array, " T"]:
        """What each task's loss is multiplied by: 0 for a task without a row."""
        return self._weights(self.learned, losses)

    def _weights(self, learned: Learned, losses: Float[Array, " T"] | None) -> Float[Array, " T"]:
        read = losses if self.balancer.reads_losses else None
        given = called(self.balancer, "weights", learned, read, self.state, self.key, self.tasks)
        return jnp.where(self.rows > 0, self._like("weights", given, self.rows), 0)

    def with_learned_gradient(self, dense: dict, losses: Float[Array, " T"]) -> dict:
        """The gradient of the dense parameters, now of what the balancer learns too.

        It is 0 there in `dense`: the model does not read it. What is learned as `[T, ...]`, a
        number or more a task, stays as it is for tasks without a row in the batch.
        """

        def objective(learned: Learned):
            penalty = self._like("penalty", called(self.balancer, "penalty", learned), 0.0)
            return jnp.sum(self._weights(learned, losses) * losses) + penalty

        def of_present(gradient: Array) -> Array:
            if gradient.shape[:1] != self.rows.shape:
                return gradient
            return jnp.where(self.rows.reshape(-1, *[1] * (gradient.ndim - 1)) > 0, gradient, 0)

        if not self.learned:
            return dense
        return {**dense, LEARNED: jax.tree.map(of_present, jax.grad(objective)(self.learned))}

    def coefficients(
        self, gram: Float[Array, "T T"], losses: Float[Array, " T"]
    ) -> Float[Array, " T"]:
        """What each task's gradient is multiplied by."""
        given = called(self.balancer, "coefficients", gram, losses, self.state, self.key)
        return self._like("coefficients", given, self.rows)

    def next_state(
        self, losses: Float[Array, " T"], gram: Float[Array, "T T"] | None, step: Int[Array, ""]
    ) -> Any:
        """What the balancer keeps for the next step, in the dtypes of what it began with."""
        norms = None if gram is None else jnp.sqrt(jnp.diag(gram))
        seen = Seen(losses, self.rows, norms, gram, step, self.key)
        new = self._like("update", called(self.balancer, "update", self.state, seen), self.state)
        return jax.tree.map(lambda a, old: jnp.asarray(a, old.dtype), new, self.state)

    def at_fault(
        self,
        marks: Bool[Array, " N"],
        losses: Float[Array, " T"],
        c: Array,
        state: Any,
        dense: dict,
    ) -> Bool[Array, " F"]:
        """Which of FAULTS give numbers that are not finite, of losses and gradients that are.

        Args:
          marks: of losses and gradients that are not finite.
          losses: of the whole batch.
          c: the coefficients.
          state: for the next step.
          dense: gradients, of what it learns too.
        """

        def finite(tree: Any) -> Array:
            leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
            return jnp.stack(leaves).all() if leaves else jnp.array(True)

        of_weights, rest = finite(losses) & ~finite(self.weights(losses)), ~marks.any()
        of_learned = rest & finite(self.weights(losses)) & ~finite(dense.get(LEARNED, {}))
        of_update = rest & finite(c) & ~finite(state)
        return jnp.stack([of_weights, rest & ~finite(c), of_update, of_learned])

    def _like(self, method: str, given: Any, like: Any) -> Any:
        """What a method gives; raises UserError where its shapes are not those of `like`."""
        got, expected = (jax.tree.map(jnp.shape, tree) for tree in (given, like))
        if got != expected:
            where = place(type(self.balancer), method)
            raise BalancerFails(f"{where} gives the shapes {got}, expected {expected}")
        return given


def gram_of(by_task: Sequence[Float[Array, "B L D"]]) -> Float[Array, "T T"]:
    """The products of the tasks' gradients of rows, over the whole batch."""
    return batch_axis.total(products(by_task))


def products(gradients: Sequence[Array]) -> Float[Array, "T T"]:
    """Of each two gradients."""
    flat = jnp.stack([gradient.reshape(-1) for gradient in gradients])
    # An accelerator would round products to fewer bits.
    return jnp.matmul(flat, flat.T, precision=jax.lax.Precision.HIGHEST)


def of_several(by_task: Sequence[dict] | None) -> Sequence[dict]:
    """The tasks' gradients of those dense parameters of which several tasks have one in this
    batch, and 0 of the others; of the whole batch. () where no gradients of dense parameters are
    read."""

    def one(*gradients: Array) -> list[Array]:
        several = sum(jnp.any(gradient != 0).astype(int) for gradient in gradients) > 1
        return [jnp.where(several, gradient, 0) for gradient in gradients]

    if by_task is None:
        return ()
    shared = jax.tree.map(one, *by_task)
    return jax.tree.transpose(jax.tree.structure(by_task[0]), None, shared)


def gram_of_dense(by_task: Sequence[dict]) -> Float[Array, "T T"] | float:
    """The products of the tasks' gradients of dense parameters."""
    parameters = zip(*(jax.tree.leaves(gradient) for gradient in by_task))
    return sum((products(gradients) for gradients in parameters), start=0.0)


def combined_dense(dense: dict, by_task: Sequence[dict], c: Float[Array, " T"]) -> dict:
    """The gradient of dense parameters, the tasks' times coefficients."""
    return jax.tree.map(lambda g, *tasks: moved(g, tasks, c), dense, *by_task)


def combined(
    rows: Float[Array, "B V L D"],
    by_task: Sequence[Float[Array, "B L D"]],
    view: int,
    c: Float[Array, " T"],
) -> Float[Array, "B V L D"]:
    """The gradient by looked-up row, the tasks' times coefficients.

    Args:
      rows: the plain sum of the tasks' gradients, auxiliary losses included, for all V views.
      by_task: the tasks' gradients for the rows of one view.
      view: its place in `rows`.
      c: a coefficient a task.
    """
    return rows.at[:, view].set(moved(rows[:, view], by_task, c))


def moved(total: Array, by_task: Sequence[Array], c: Float[Array, " T"]) -> Array:
    """A gradient that holds the sum of the tasks', now with their coefficients."""
    return total + sum((c[t] - 1) * gradient for t, gradient in enumerate(by_task))
