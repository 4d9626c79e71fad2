"""ESMM, "Entire Space Multi-Task Model" (Ma et al. 2018).

Along a funnel, such as click → order, a task's tower says how likely it is once its upstream task
has happened; what is trained and scored on all impressions is the product:

    p_t = p_u sigmoid(tower_t([f_1, ..., f_M]))        p_t = sigmoid(tower_t(...)) without upstream

with f the experts of t's group on the embeddings that all tasks share. The gradient reaches the
upstream tower through the product. With a, z the logits of p_u and of the tower,

    logit(p_t) = -log(exp(-a) + exp(-z) + exp(-a - z)),

which is exact and overflows nowhere.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.schema import ALL, Schema, Task
from dtn_jax.shapes import Array, Float


class ESMM(Architecture):
    """Groups: the tasks. Intermediates: `conditional`, the towers' own logits."""

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names,)

    @classmethod
    def check(cls, schema, own):
        check_funnel(schema, cls.__name__)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, on all rows."""
        fields = self.read(inputs, train)
        outputs = self.experts(fields, inputs.codewords, train)
        logits, conditional, aux = {}, {}, {}
        for task in self.tasks:
            z = jnp.concatenate(list(outputs[task.name].values()), axis=-1)
            logit = self.tower(name=f"tower_{task.name}")(z, train)
            conditional[task.name] = logits[task.name] = logit
            for upstream in task.upstream:  # one at most
                logits[task.name] = both(logits[upstream], logit)
                aux |= self.losses(task, z, logit, logits[upstream], inputs, train)
        intermediates = {"conditional": conditional, "experts": merged(outputs)}
        return Outputs(logits=logits, aux=aux, intermediates=intermediates)

    def losses(
        self,
        task: Task,
        z: Float[Array, "B K"],
        logit: Float[Array, " B"],
        upstream: Float[Array, " B"],
        inputs: Inputs,
        train: bool,
    ) -> dict[str, Float[Array, " B"]]:
        """Auxiliary losses of a conditional task: none."""
        return {}


def both(a: Float[Array, " B"], z: Float[Array, " B"]) -> Float[Array, " B"]:
    """The logit of sigmoid(a) sigmoid(z)."""
    return -jax.nn.logsumexp(jnp.stack([-a, -z, -a - z]), axis=0)


def check_funnel(schema: Schema, name: str) -> None:
    """Probabilities are multiplied along a funnel, so there must be one."""
    edges = [(task, upstream) for task in schema.tasks for upstream in task.upstream]
    if not edges:
        raise UserError(
            f"{name} needs a funnel, and the tasks of {schema.name} have no upstream tasks; "
            "model.upstream='order:click' would say that an order needs a click"
        )
    kinds = {task.name: task.kind for task in schema.tasks}
    for task, upstream in edges:
        if len(task.upstream) > 1 or {task.kind, kinds[upstream]} != {"binary"}:
            raise UserError(
                f"{name} needs a funnel: task {task.name!r} must be binary and follow one binary "
                f"task, got {task.kind} after {', '.join(task.upstream)}"
            )
        if task.space != ALL:
            raise UserError(
                f"{name} trains on all impressions, but the loss of {task.name!r} is taken in the "
                f"space {task.space!r}"
            )
