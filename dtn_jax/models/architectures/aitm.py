"""AITM, "Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi-task
Learning" (Xi et al. 2021): adaptive information transfer.

With q_t = [f_1, ..., f_M] the experts of task t's group on the shared embeddings, a task without
upstream tasks has z_t = q_t. Another attends to q_t and to what its upstream tasks hand down:

    p_u = relu(z_u W_u + b_u)
    z_t = sum over r in {q_t, p_u ...}  softmax(<r K, r Q> / sqrt(width))_r  r V

with K, Q, V of the task and without bias. A task's logit is tower_t(z_t). The behavioural
expectation calibrator adds `calibrator` times max(p(t) - p(u), 0) to the loss, for every upstream
task u with t's space of the loss: an order cannot be likelier than its click, but may be
so among clicks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.layers import at_least_float32, dense
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class AITM(Architecture):
    """Groups: the tasks. A gate is a task's attention; it weighs tasks, itself and its upstream.

    Attributes:
      calibrator: alpha in the paper, there 0.6.
    """

    calibrator: float = option(
        0.6, "weight of the loss where a task is likelier than its upstream task", least=0
    )

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names,)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit; `aux` has the calibrator's loss."""
        fields = self.read(inputs, train)
        outputs = self.experts(fields, inputs.codewords, train)
        tasks = {task.name: task for task in self.tasks}
        z, logits, gates, excess = {}, {}, {}, []
        for task in self.tasks:
            z[task.name] = jnp.concatenate(list(outputs[task.name].values()), axis=-1)
            if task.upstream:
                transfer = Transfer(task.upstream, self.dtype, name=f"transfer_{task.name}")
                above = [z[name] for name in task.upstream]
                z[task.name], weights = transfer(z[task.name], above)
                gates[task.name] = dict(zip((task.name, *task.upstream), weights.T))
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z[task.name], train)
            for upstream in task.upstream:
                if task.kind == tasks[upstream].kind == "binary" and (
                    task.space == tasks[upstream].space
                ):
                    p, p_u = nn.sigmoid(logits[task.name]), nn.sigmoid(logits[upstream])
                    excess.append(self.calibrator * nn.relu(p - p_u))
        return Outputs(
            logits=logits,
            aux={"calibrator": sum(excess)} if excess else {},
            intermediates={"gates": gates, "experts": merged(outputs)},
        )


class Transfer(nn.Module):
    """The adaptive information transfer: attention over a task's own and the upstream tasks'."""

    upstream: tuple[str, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, own: Float[Array, "B K"], above: Sequence[Float[Array, "B _"]]
    ) -> tuple[Float[Array, "B K"], Float[Array, "B M"]]:
        """The mix of `own` with what is handed down from `above`, and the M weights."""
        width = own.shape[1]
        handed = [
            nn.relu(dense(width, self.dtype, name=f"info_{name}")(z))
            for name, z in zip(self.upstream, above)
        ]
        read = jnp.stack([own, *handed], axis=1)  # [B, M, K]
        keys, queries, values = (
            dense(width, self.dtype, name=name, use_bias=False)(read.reshape(-1, width))
            for name in ("keys", "queries", "values")
        )
        wide = at_least_float32(keys.dtype)
        scores = (keys * queries).astype(wide).sum(-1) / math.sqrt(width)
        weights = nn.softmax(scores.reshape(read.shape[:2]), axis=-1)
        mixed = (weights[:, :, None] * values.reshape(read.shape)).sum(axis=1)
        return mixed.astype(own.dtype), weights
