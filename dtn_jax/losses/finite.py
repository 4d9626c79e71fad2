"""Which of a step's losses and gradients are not finite, and whether a state is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dtn_jax.balancing.seam import FAULTS
from dtn_jax.errors import UserError
from dtn_jax.shapes import Array, Bool, Float

BALANCER = "loss.balancing: "  # before the method that gives NaN where losses are finite


class NotFinite(UserError):
    """A step has losses or gradients that are NaN or infinite, or its balancer gives such numbers.

    Attributes:
      step: of the run, from 1.
      tasks: those whose loss is not finite.
      gradients: the parameters and tables whose gradient is not; a balancer's methods.
      balancer: the first of those methods, which has spoilt the gradients, or ''.
    """

    def __init__(self, step: int, tasks: Sequence[str], gradients: Sequence[str]):
        self.step, self.tasks, self.gradients = step, tasks, gradients
        faults = [name.removeprefix(BALANCER) for name in gradients if name.startswith(BALANCER)]
        self.balancer = faults[0] if faults else ""
        super().__init__(f"step {step}: {', '.join((*tasks, *gradients))} not finite")


def bad_rows(rows: dict[str, Array]) -> Float[Array, " K"]:
    """1 for each array of rows in which a number is not finite, else 0.

    These are floats of this device's rows, so that over all devices they are added up together
    with the gradients.
    """
    # Counting the numbers would write an array of their size first.
    marked = [~jnp.isfinite(rows[name]).all() for name in sorted(rows)]
    return jnp.stack(marked).astype(jnp.float32)


def marks(losses: Float[Array, " T"], dense: Any, rows: Float[Array, " K"]) -> Bool[Array, " N"]:
    """Marks the losses, the parameters and the arrays of rows that are not finite, as `names`."""
    by_parameter = [~jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(dense)]
    return jnp.concatenate([~jnp.isfinite(losses), jnp.stack(by_parameter), rows > 0])


def names(tasks: Sequence[str], params: Any, tables: Iterable[str]) -> tuple[str, ...]:
    """What each of `marks` is of: the tasks' losses, then parameters by path, then tables; last,
    where there is a balancer, its methods."""
    of_tables = (f"table {name}" for name in sorted(tables))
    return *tasks, *paths(params), *of_tables, *(BALANCER + method for method in FAULTS)


def paths(tree: Any) -> list[str]:
    """'experts/mlp_0/kernel' for each leaf of a pytree, in JAX's order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
