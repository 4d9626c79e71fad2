"""Single task: one model per task, with embeddings of its own; nothing is shared.

For task t, z = [f_1, ..., f_M] of its group on its view of the fields; its logit is tower(z).
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged


class SingleTask(Architecture):
    """Groups and views: the tasks."""

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names,)

    @classmethod
    def views(cls, schema, own):
        return schema.task_names

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from experts that no other task reads."""
        fields = {task.name: self.read(inputs, train, task.name) for task in self.tasks}
        outputs = self.experts(fields, inputs.codewords, train)
        z = {t.name: jnp.concatenate([*outputs[t.name].values()], axis=-1) for t in self.tasks}
        return Outputs(logits=self.towers(z, train), intermediates={"experts": merged(outputs)})
