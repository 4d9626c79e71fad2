"""FDN, "Feature Decomposition for Reducing Negative Transfer" (Zhou et al. 2023, arXiv 2302.05031).

Each task t has d pairs of experts: P_ti finds what is the task's own, S_ti what is shared. Its
logit is tower_t([P_t1, ..., P_td, S of all tasks]). Two losses keep the two apart:

    auxiliary      sum over t, i of the task's loss of the logit P_ti w_ti + b_ti
    orthogonality  sum over t, i of the norm of S_ti^T P_ti, an outer product `[H, H]` for each row

with 1e-6 added to every product, as in the authors' code (frostant/FDN). The paper's experts are
layers of ELU, and its towers one linear layer; here they are what the config says.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.auxiliary import label_loss
from dtn_jax.models.layers import at_least_float32, dense
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float

ADDED = 1e-6  # to every product of S and P, before the norm


class FDN(Architecture):
    """Groups: the tasks, with P; and `shared_TASK` for each, with S."""

    auxiliary: float = option(1.0, "weight of the losses of what is a task's own", least=0)
    orthogonality: float = option(1.0, "weight of the norm of shared times own", least=0)

    @classmethod
    def layout(cls, schema, own):
        return ((*schema.task_names, *(f"shared_{task}" for task in schema.task_names)),)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit; `aux` has both losses, the auxiliary one where labels are given.

        Raises:
          UserError: a task's two groups have different numbers of experts.
        """
        fields = self.read(inputs, train)
        outputs = self.experts(fields, inputs.codewords, train)
        logits, auxiliary, norms = {}, 0, 0
        every = [f for t in self.tasks for f in outputs[f"shared_{t.name}"].values()]
        for task in self.tasks:
            P, S = (list(outputs[g].values()) for g in (task.name, f"shared_{task.name}"))
            if len(P) != len(S):
                raise UserError(
                    f"fdn pairs experts: group {task.name!r} has {len(P)}, and "
                    f"'shared_{task.name}' {len(S)}"
                )
            z = jnp.concatenate([*P, *every], axis=-1)
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train)
            for i, (p, s) in enumerate(zip(P, S)):
                exact = at_least_float32(self.dtype)
                logit = dense(1, exact, name=f"auxiliary_{task.name}_{i}")(p)[:, 0]
                if task.name in inputs.labels:
                    auxiliary = auxiliary + label_loss(logit, inputs.labels[task.name], task)
                norms = norms + norm_of_products(s.astype(exact), p.astype(exact))
        aux = {"orthogonality": self.orthogonality * norms} if self.orthogonality else {}
        if inputs.labels and self.auxiliary:
            aux["auxiliary"] = self.auxiliary * auxiliary
        return Outputs(logits=logits, aux=aux, intermediates={"experts": merged(outputs)})


def norm_of_products(s: Float[Array, "B H"], p: Float[Array, "B H"]) -> Float[Array, " B"]:
    """The Frobenius norm of s^T p + 1e-6, without making it: (|s| |p|)^2 + 2e-6 s.1 p.1 + ..."""
    squares = jnp.sum(s**2, axis=-1) * jnp.sum(p**2, axis=-1)
    sums = jnp.sum(s, axis=-1) * jnp.sum(p, axis=-1)
    constant = (ADDED * s.shape[-1]) ** 2
    return jnp.sqrt(jnp.maximum(squares + 2 * ADDED * sums + constant, constant / 2))
