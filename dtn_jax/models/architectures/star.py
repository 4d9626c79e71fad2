"""STAR, "One Model to Serve All: Star Topology Adaptive Recommender" (Sheng et al. 2021,
arXiv 2101.11427).

A task's tower has in every layer weights that all scenarios share and weights of each one's own:

    h' = relu(h (W_p * W) + b_p + b)       for a row of scenario p      (equation 6)

To its logit that of an auxiliary network, which reads the scenario's embedding and z, is added
(equation 9). z are the experts of the one group, where the paper has the embeddings: its auxiliary
network reads them too. Its normalisation by scenario is left out.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.scenarios import ByScenario, StarLayer
from dtn_jax.models.dropout import Dropout
from dtn_jax.models.layers import at_least_float32, dense, flat
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class STAR(ByScenario):
    """Group: `shared`."""

    auxiliary: int = option(32, "hidden width of the auxiliary network; 0 has none", least=0)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, by the tower of the row's scenario."""
        _, outputs = self.shared_experts(inputs, train)
        z = jnp.concatenate(list(outputs.values()), axis=-1)
        at = self.scenario_of(inputs)
        hidden, exact = self.tower.keywords["hidden"], at_least_float32(self.dtype)
        known = jnp.concatenate([flat(inputs.of(self.scenario)).astype(z.dtype), z], axis=-1)
        logits = {}
        for task in self.tasks:
            name = f"tower_{task.name}"
            tower = StarTower(self.scenarios, hidden, self.dropout, self.dtype, name=name)
            logit = tower(z, at, train)
            if self.auxiliary:
                layer = dense(self.auxiliary, self.dtype, name=f"auxiliary_{task.name}")
                h = nn.relu(layer(known))
                logit = logit + dense(1, exact, name=f"auxiliary_logit_{task.name}")(h)[:, 0]
            logits[task.name] = logit
        return Outputs(logits=logits, intermediates={"experts": outputs})


class StarTower(nn.Module):
    """Hidden relu layers and the logit, of each scenario's own beside the shared ones."""

    scenarios: int
    hidden: tuple[int, ...]
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, z: Float[Array, "B K"], at: Float[Array, "B P"], train: bool
    ) -> Float[Array, " B"]:
        """The logits of a task."""
        for layer, width in enumerate(self.hidden):
            star = StarLayer(self.scenarios, width, self.dtype, name=f"hidden_{layer}")
            z = Dropout(self.dropout)(nn.relu(star(z, at)), train)
        exact = at_least_float32(self.dtype)
        return StarLayer(self.scenarios, 1, exact, name="logit")(z.astype(exact), at)[:, 0]
