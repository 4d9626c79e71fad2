"""HMoE, "Improving Multi-Scenario Learning to Rank in E-commerce" (Li et al. 2020).

All scenarios share the experts. Each scenario p has a gate and a tower of its own, and a row mixes
the scores of all towers, since other scenarios may resemble its own:

    z_p = sum over m of softmax(x G_p)_m f_m;      s_p = tower_p(z_p)
    y   = sum over p of softmax(x V)_p s_p

Each task has such a y as its logit, with G, V and towers of its own. A row trains the tower of its
own scenario alone: the scores of the others get no gradient. This follows
fun-rec, chapter 2.5, which gives each scenario a gate; by its account of the paper, all towers read
one mixture there.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.scenarios import ByScenario
from dtn_jax.models.gates import Gate
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import at_least_float32, dense, flat


class HMoE(ByScenario):
    """Group: `shared`. A task's gate is that of the row's own scenario."""

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, by all scenarios' towers."""
        fields, outputs = self.shared_experts(inputs, train)
        x, f = flat(fields), jnp.stack(list(outputs.values()), axis=1)
        P, exact = self.scenarios, at_least_float32(self.dtype)
        at = self.scenario_of(inputs)
        logits, gates = {}, {}
        for task in self.tasks:
            scores = dense(P * len(outputs), self.dtype, name=f"gate_{task.name}")(x)
            g = nn.softmax(scores.reshape(-1, P, len(outputs)).astype(exact))
            h = jnp.einsum("bpm,bmh->bph", g.astype(self.dtype), f)
            s = self.scenario_towers(task.name, h, train)
            s = jnp.where(at > 0, s, stop_gradient(s))
            w = Gate(P, use_bias=True, dtype=self.dtype, name=f"label_{task.name}")(x)
            logits[task.name] = jnp.sum(w * s, axis=-1)
            gates[task.name] = by_expert(jnp.einsum("bpm,bp->bm", g, at), outputs)
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": outputs})
