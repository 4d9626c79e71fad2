"""Shared bottom (Caruana 1997): all tasks read the same experts.

z = [f_1, ..., f_M] of the group `shared`; a task's logit is tower(z).
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture


class SharedBottom(Architecture):
    """Group: `shared`."""

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from the outputs of all experts."""
        _, outputs = self.shared_experts(inputs, train)
        z = jnp.concatenate(list(outputs.values()), axis=-1)
        logits = self.towers({task.name: z for task in self.tasks}, train)
        return Outputs(logits=logits, intermediates={"experts": outputs})
