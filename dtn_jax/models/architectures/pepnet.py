"""PEPNet, "Parameter and Embedding Personalized Network" (Chang et al. 2023, arXiv 2302.01115).

Two networks personalise a shared bottom, with gates U between 0 and 2:

    U(x) = 2 sigmoid(relu(x W_1 + b_1) W_2 + b_2)
    O    = U([E(scenario), E]) * E                      EPNet, on the embeddings E
    h'   = relu((U_tl([E(prior), O]) * h) W + b)        PPNet, in layer l of the tower of task t

The experts read O, and the towers read the experts. E and O are inputs of the gates without a
gradient; the fields of the scenario and the prior ones learn from them.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.layers import flat, two_layers
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class PEPNet(Architecture):
    """Group: `shared`."""

    domain: tuple[str, ...] = option(
        (), "fields that EPNet reads; () those of the role scenario", items=str, role="scenario"
    )
    prior: tuple[str, ...] = option(
        (), "fields that PPNet reads; () those of the role prior", items=str, role="prior"
    )
    gate: int = option(64, "hidden width of the gates U", least=1)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit."""
        E = self.read(inputs, train)
        domain, prior = (flat(inputs.of(names)) for names in (self.domain, self.prior))
        delta = self._scale(domain, flat(E), flat(E).shape[-1], "epnet")
        scaled = E * delta.reshape(E.shape)
        outputs = self.experts(scaled, inputs.codewords, train)[SHARED]
        z = jnp.concatenate(list(outputs.values()), axis=-1)
        logits = {}
        for task in self.tasks:
            scales = [
                self._scale(prior, flat(scaled), width, f"ppnet_{task.name}_{layer}")
                for layer, width in enumerate(self.tower_widths(z))
            ]
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train, scales)
        return Outputs(logits=logits, intermediates={"experts": outputs})

    def _scale(self, known: Array, x: Array, width: int, name: str) -> Float[Array, "B width"]:
        """U of what is known and x."""
        read = jnp.concatenate([known, stop_gradient(x)], axis=-1)
        return 2 * nn.sigmoid(two_layers(read, self.gate, width, self.dtype, name))
