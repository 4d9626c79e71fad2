"""Shared bottom (Caruana 1997): all tasks read the same experts.

z = [f_1, ..., f_M] of the group `shared`; a task's logit is tower(z).
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture


class SharedBottom(Architecture):
    """Group: `shared`."""

    @classmethod
    def layout(cls, schema, own):
        return ((SHARED,),)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from the outputs of all experts."""
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        outputs = self.experts(fields, inputs.codewords, train)[SHARED]
        z = jnp.concatenate(list(outputs.values()), axis=-1)
        logits = {t.name: self.tower(name=f"tower_{t.name}")(z, train) for t in self.tasks}
        return Outputs(logits=logits, intermediates={"experts": outputs})
