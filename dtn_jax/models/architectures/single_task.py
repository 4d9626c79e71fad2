"""Single task: one model a task, with embeddings of its own, that share nothing.

For task t, z = [f_1, ..., f_M] of its group on its view of the fields; its logit is tower(z).
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.parts import Architecture, ExpertGroup, Groups


class SingleTask(Architecture):
    """Groups and views: the tasks."""

    groups: Groups

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        groups = dict(self.groups)
        logits, outputs = {}, {}
        for task in self.tasks:
            prepare = self.input(name=f"input_{task.name}")
            fields = prepare(inputs.fields[task.name], inputs.row_mask, train)
            bottom = ExpertGroup(groups[task.name], self.dropout, name=task.name)
            own = bottom(fields, inputs.codewords, train)
            z = jnp.concatenate(list(own.values()), axis=-1)
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train)
            outputs |= own
        return Outputs(logits=logits, intermediates={"experts": outputs})
