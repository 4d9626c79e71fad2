"""DBMTL, "Deep Bayesian Multi-Target Learning for Recommender Systems" (Wang et al. 2019).

What a task finds goes on to the tasks that follow it in the graph, as in p(order | click, x):

    h_t = MLP_t([z_t, h_u of every upstream task u]),   a task's logit is tower_t(h_t)

with z_t the outputs of t's experts, on the embeddings that all tasks share. The paper's relation
layers are MLP_t.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.layers import hidden_layers
from dtn_jax.options import option


class DBMTL(Architecture):
    """Groups: the tasks."""

    relation: tuple[int, ...] = option((64,), "hidden widths of the relation layers")

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names,)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, in the order of the graph."""
        fields = self.read(inputs, train)
        outputs = self.experts(fields, inputs.codewords, train)
        h, logits = {}, {}
        for task in self.tasks:
            read = [*outputs[task.name].values(), *(h[up] for up in task.upstream)]
            x, name = jnp.concatenate(read, axis=-1), f"relation_{task.name}"
            h[task.name] = hidden_layers(
                x, self.relation, self.dtype, self.dropout, train, name=name
            )
            logits[task.name] = self.tower(name=f"tower_{task.name}")(h[task.name], train)
        return Outputs(logits=logits, intermediates={"experts": merged(outputs)})
