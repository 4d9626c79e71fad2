"""What a balancer may say; what it does not say leaves the tasks as they are."""

from __future__ import annotations

import dataclasses
import inspect
import traceback
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from dtn_jax.errors import UserError, choose
from dtn_jax.options import option
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float, Int

Learned = dict[str, Array]
SCOPES = ("embeddings", "shared")


class Seen(NamedTuple):
    """What a balancer is shown after a step's backward pass, of the whole batch.

    Attributes:
      losses: L_t, times the tasks' own weights; 0 for a task without a row.
      rows: how many rows count in each task's loss.
      norms: the lengths of the tasks' gradients, where it reads gradients; else None.
      gram: their products, where it reads gradients; else None.
      step: from 0.
      key: of this step, the same that the other methods get.
    """

    losses: Float[Array, " T"]
    rows: Int[Array, " T"]
    norms: Float[Array, " T"] | None
    gram: Float[Array, "T T"] | None
    step: Int[Array, ""]
    key: Array


@dataclasses.dataclass(frozen=True)
class Balancer:
    """See `dtn_jax.balancing` for the places that it acts in.

    Attributes:
      reads_losses: whether `weights` gets the losses of the step.
      reads_gradients: whether it has `coefficients`, or its `update` reads norms or products; only
        then are gradients taken by task.
      scope: of what these gradients are, and where the coefficients combine them: "embeddings", or
        "shared" for the dense parameters of several tasks too.
      positive: whether its formula needs losses above 0.
    """

    reads_losses: ClassVar[bool] = False
    reads_gradients: ClassVar[bool] = False
    scope: ClassVar[str] = "embeddings"
    positive: ClassVar[bool] = False

    def init(self, tasks: tuple[Task, ...]) -> Learned:
        """What it learns, at step 0; {} where it learns nothing."""
        return {}

    def init_state(self, tasks: tuple[Task, ...]) -> Any:
        """What it keeps from step to step, at step 0: a pytree of arrays."""
        return {}

    def weights(
        self,
        learned: Learned,
        losses: Float[Array, " T"] | None,
        state: Any,
        key: Array,
        tasks: tuple[Task, ...],
    ) -> Float[Array, " T"]:
        """What each task's loss is multiplied by; a task without a row in the batch gets 0.

        Args:
          learned: by `init`, and the optimizer since.
          losses: L_t of this batch, 0 for a task without a row; None without `reads_losses`.
          state: by `init_state`, and `update` since.
          key: of this step, for methods that draw.
          tasks: of the schema.
        """
        return jnp.ones(len(tasks))

    def penalty(self, learned: Learned) -> Float[Array, ""]:
        """What is added to the loss, so that the weights have an optimum."""
        return jnp.zeros(())

    def coefficients(
        self, gram: Float[Array, "T T"], losses: Float[Array, " T"], state: Any, key: Array
    ) -> Float[Array, " T"]:
        """What each task's gradient is multiplied by.

        Args:
          gram: the products g_t · g_s of the tasks' gradients; 0 for a task without a row.
          losses, state, key: as for `weights`; the losses are always there.
        """
        return jnp.ones(len(gram))

    def update(self, state: Any, seen: Seen) -> Any:
        """The state for the next step, in the same shapes."""
        return state


@dataclasses.dataclass(frozen=True)
class GradientBalancer(Balancer):
    """One that reads gradients, whose scope is an option."""

    reads_gradients: ClassVar[bool] = True
    scope: str = option(
        "embeddings",
        "whose gradients are balanced: those of the shared embeddings, or (shared) also those of "
        "the dense parameters of which several tasks have one, for a backward pass a task through "
        "the whole model",
        choices=SCOPES,
    )


class BalancerFails(UserError):
    """A balancer's method raises, or gives what it must not."""


def place(owner: type[Balancer], method: str, error: Exception | None = None) -> str:
    """'EqualLosses.update (/home/me/my_balancer.py, line 19)': where a method is, or where in its
    file an error was raised."""
    code = inspect.unwrap(getattr(owner, method)).__code__
    frames = traceback.extract_tb(error.__traceback__) if error else []
    lines = [frame.lineno for frame in frames if frame.filename == code.co_filename]
    line = (lines or [code.co_firstlineno])[-1]
    return f"{owner.__name__}.{method} ({code.co_filename}, line {line})"


def called(balancer: Balancer, method: str, *given: Any) -> Any:
    """What a method gives; raises BalancerFails with its place where it raises anything else."""
    try:
        return getattr(balancer, method)(*given)
    except UserError:
        raise
    except Exception as error:  # whatever a file of the user's, or JAX, may raise
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise BalancerFails(f"{place(type(balancer), method, error)} fails: {reason}") from error


METHODS = {
    name: f for name, f in vars(Balancer).items() if inspect.isfunction(f) and name[0] != "_"
}


def check(owner: type[Balancer]) -> None:
    """Builds one at its defaults.

    Raises:
      UserError: it has a method that nobody would call, or that would be called otherwise; or it
        reads what none of its methods is given.
    """
    choose("scope", owner().scope, SCOPES)
    classes = owner.__mro__[: owner.__mro__.index(Balancer)]
    own = {name: f for cls in classes[::-1] for name, f in vars(cls).items()}
    for name, function in own.items():
        if name[0] == "_" or not callable(function):
            continue
        choose("method of a balancer (helpers begin with '_'),", name, METHODS)
        expected = list(inspect.signature(METHODS[name]).parameters)
        if len(inspect.signature(function).parameters) != len(expected):
            raise UserError(f"expected {name}({', '.join(expected)})")

    def needs(method: str, *others: str) -> None:
        if method in own and not any(name in own for name in others):
            raise UserError(f"{method} needs {' or '.join(others)} beside it")

    needs("penalty", "init")
    needs("update", "init_state")
    if owner.reads_losses and "weights" not in own:
        raise UserError("reads_losses needs a method weights, which reads them")
    if owner.reads_gradients and not {"coefficients", "update"} & {*own}:
        raise UserError("reads_gradients needs a method coefficients or update, which reads them")
    if "coefficients" in own and not owner.reads_gradients:
        raise UserError("coefficients needs reads_gradients = True; else nobody calls it")
    if owner.scope != Balancer.scope and not owner.reads_gradients:
        raise UserError("scope needs reads_gradients = True; else nobody reads it")
