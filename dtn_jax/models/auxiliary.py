"""What auxiliary losses of an architecture are made of: a row's loss of a logit, by its label."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dtn_jax.interface import Label
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float


def label_loss(logit: Float[Array, " B"], label: Label, task: Task) -> Float[Array, " B"]:
    """The cross-entropy of a binary task, a regression's squared error; 0 where no label is known.

    Weights of positives and a task's own choice of loss are of its main loss alone.
    """
    y = jnp.where(label.known, label.values, 0).astype(logit.dtype)
    binary = task.kind == "binary"
    loss = jax.nn.softplus(logit) - y * logit if binary else (logit - y) ** 2
    return jnp.where(label.known, loss, 0)
