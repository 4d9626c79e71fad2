"""Per task, the mean loss over the rows that count, and what a model gives as its score.

`loss.label_smoothing` ε is of the training loss alone: a binary label y becomes y (1 - ε) + ε / 2
(Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016, section 7, with
1/2 for each of two classes). Positives that weigh w do so in their smoothed share, so the best
score is the rate of the smoothed labels whatever w is: p (1 - ε) + ε / 2 where p of the rows are
positive, nearer to 1/2 than p, and far above a p that is small against ε. So scores are no
probabilities until they are calibrated, and those that an architecture multiplies are not either.
Which rows are in a task's space, the order of pairs, metrics and validation know the labels as they
are.

Whatever stands in other rows, NaN too, reaches neither the loss nor a gradient (values are
replaced by `where` before they are used, and once more after: a product with 0 would keep NaN).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dtn_jax.errors import UserError
from dtn_jax.interface import Outputs
from dtn_jax.shapes import Array, Float, Int


class TaskLoss(NamedTuple):
    """The loss of a task.

    Attributes:
      task: its name.
      loss: what a row costs, see `dtn_jax.losses`.
      positive_weight: w; 1 for regression tasks.
      slot: in `Batch.ids`, of the field that the loss reads; None where it reads none.
      smoothing: ε of the label smoothing; 0 for regression tasks.
      improper: of a binary task, what keeps its score from being a probability, in words; '' where
        it is one.
    """

    task: str
    loss: Callable[..., Array]
    positive_weight: float = 1.0
    slot: int | None = None
    smoothing: float = 0.0
    improper: str = ""

    @property
    def meaning(self) -> str:
        """What the task's score is of its label, for a card."""
        plain = "probability" if self.loss.kind == "binary" else "prediction"
        return getattr(self.loss, "meaning", plain)

    @property
    def outputs(self) -> int:
        """How many numbers of a row the task's tower gives."""
        return getattr(self.loss, "outputs", 1)

    def read(self, ids: Int[Array | np.ndarray, "B _"] | None) -> tuple[Int[Array, " B"], ...]:
        """Of `Batch.ids`, what the loss gets as its last argument: one array, or nothing."""
        return () if self.slot is None else (jnp.asarray(ids[:, self.slot]),)


def predictions(
    outputs: Mapping[str, Float[Array, "B ..."]],
    chosen: Sequence[TaskLoss],
    ids: Int[Array | np.ndarray, "B _"] | None = None,
) -> Float[Array, "B T"]:
    """What a model gives of each task: a logit; of a regression, the score in the label's unit.

    Whoever scores with a model, in training, analysis or an exported program, goes through here.
    A score that is too large for its dtype is the largest number of it.

    Args:
      outputs: {task: `[B]`, or `[B, K]` where its loss has K outputs}, what the towers give.
      chosen: the losses of the tasks that are given, in their order.
      ids: `[B, L]`, of the batch; None will do where no loss reads a field.

    Raises:
      KeyError: a task without an output.
      UserError: a loss whose `prediction` does not give `[B]`.
    """
    scores = []
    for task_loss in chosen:
        task, loss = task_loss.task, task_loss.loss
        z = score = outputs[task]
        if hasattr(loss, "prediction"):
            score = jnp.minimum(loss.prediction(z, *task_loss.read(ids)), jnp.finfo(z.dtype).max)
            if score.shape != z.shape[:1]:
                raise UserError(
                    f"the prediction of task {task!r}, by {type(loss).__name__}, has the shape "
                    f"{score.shape}, expected a number a row, {z.shape[:1]}"
                )
        scores.append(score)
    return jnp.stack(scores, axis=1)


def task_losses(
    logits: Mapping[str, Float[Array, "B ..."]],
    labels: Float[Array, "B T"],
    weights: Float[Array, "B T"],
    chosen: Sequence[TaskLoss],
    ids: Int[Array | np.ndarray, "B _"] | None = None,
) -> Float[Array, " T"]:
    """Each task's mean loss over its space; computed in float32 or wider.

    Where `B` are not all rows of the batch, the parts' results add up to the loss.

    Args:
      logits: {task: `[B]`}, the log-odds; of a regression task, what its tower gives, `[B, K]` of
        a loss with K outputs.
      labels: `[B, T]`, in the schema's order; 0 or 1 for binary tasks.
      weights: `[B, T]`, from `row_weights`. The denominator stays the (weighted) count of rows, so
        w scales the positives' part of a loss.
      chosen: the tasks' losses, in the schema's order.
      ids: `[B, L]`, of the batch; None will do where no loss reads a field.

    Returns:
      `[T]`: nats for cross-entropy, squared label units for the squared error; exactly 0, with
      gradients of exactly 0, where the space is empty or all its weights are 0.

    Raises:
      KeyError: a task without logits.
      UserError: a loss that does not give `[B]`.
    """
    result = []
    for column, task_loss in enumerate(chosen):
        task, loss, w = task_loss.task, task_loss.loss, task_loss.positive_weight
        mask = weights[:, column] > 0
        z = logits[task]
        counted = mask.reshape(-1, *[1] * (z.ndim - 1))
        z = jnp.where(counted, z, 0).astype(jnp.promote_types(z.dtype, jnp.float32))
        y = labels[:, column].astype(z.dtype)
        if task_loss.smoothing:
            y = y * (1 - task_loss.smoothing) + task_loss.smoothing / 2
        y = jnp.where(mask, y, 0)
        per_row = loss(z if w == 1 else z + math.log(w), y, w, *task_loss.read(ids))
        if per_row.shape != y.shape:
            raise UserError(
                f"the loss of task {task!r}, {type(loss).__name__}, gives an array of shape "
                f"{per_row.shape}, expected a number a row, {y.shape}"
            )
        weight = weights[:, column].astype(z.dtype)
        result.append(jnp.sum(jnp.where(mask, weight * per_row, 0)))
    return jnp.stack(result)


def check_outputs(outputs: object, losses: Sequence[TaskLoss]) -> None:
    """Raises UserError where these, of one example, are not what an architecture must return.

    Args:
      outputs: of the architecture.
      losses: of all tasks.
    """
    if not isinstance(outputs, Outputs):
        raise UserError(f"it returns {type(outputs).__name__}, expected dtn_jax.interface.Outputs")
    given, tasks = set(outputs.logits), [loss.task for loss in losses]
    if given != set(tasks):
        raise UserError(
            f"its logits are of {', '.join(sorted(given)) or 'no task'}; expected one of each "
            f"task: {', '.join(tasks)}"
        )
    for loss in losses:
        if loss.outputs > 1 and jnp.shape(outputs.logits[loss.task]) != (1, loss.outputs):
            raise UserError(
                f"the loss of {loss.task}, {type(loss.loss).__name__}, needs {loss.outputs} "
                "numbers of a row, and this architecture's tower gives one"
            )
    shapes = {loss.task: (1, loss.outputs) if loss.outputs > 1 else (1,) for loss in losses}
    shapes |= dict.fromkeys(outputs.aux, (1,))
    for name, values in {**outputs.logits, **outputs.aux}.items():
        if jnp.shape(values) != shapes[name]:
            raise UserError(
                f"of one example, {name!r} has the shape {jnp.shape(values)}; expected "
                f"{shapes[name]}: a number of a row, [B], or [B, K] of a task whose loss needs K"
            )
