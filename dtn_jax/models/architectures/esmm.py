"""ESMM, "Entire Space Multi-Task Model" (Ma et al. 2018).

Along a funnel, such as click → order, a task's tower says how likely it is once its upstream task
has happened; what is trained and scored on all impressions is the product:

    p_t = p_u sigmoid(tower_t([f_1, ..., f_M]))        p_t = sigmoid(tower_t(...)) without upstream

with f the experts of t's group on the embeddings that all tasks share. The gradient reaches the
upstream tower through the product. With a, z the logits of p_u and of the tower,

    logit(p_t) = -log(exp(-a) + exp(-z) + exp(-a - z)),

which is exact and overflows nowhere. Where positives of a task weigh w in its loss, its logit is
log w above that of p_t; both products are of probabilities all the same.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.parts import SHARED, Architecture, ExpertGroup, Groups
from dtn_jax.models.experts.mlp import flat


class ESMM(Architecture):
    """Groups: the tasks. Intermediates: `conditional`, the towers' own logits."""

    groups: Groups

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        products = self.first_products(flat(fields), self.groups, [])
        groups = dict(self.groups)
        logits, conditional, outputs = {}, {}, {}
        for task in self.tasks:
            run = ExpertGroup(groups[task.name], self.dropout, name=task.name)
            own = run(fields, inputs.codewords, train, products)
            z = jnp.concatenate(list(own.values()), axis=-1)
            logit = self.tower(name=f"tower_{task.name}")(z, train)
            conditional[task.name] = logits[task.name] = logit
            for upstream in task.upstream:  # one at most
                product = both(self.logit_of_p(upstream, logits[upstream]), logit)
                logits[task.name] = product + dict(self.inflation)[task.name]
            outputs |= own
        return Outputs(
            logits=logits, intermediates={"conditional": conditional, "experts": outputs}
        )


def both(a: Float[Array, " B"], z: Float[Array, " B"]) -> Float[Array, " B"]:
    """The logit of sigmoid(a) sigmoid(z)."""
    return -jax.nn.logsumexp(jnp.stack([-a, -z, -a - z]), axis=0)
