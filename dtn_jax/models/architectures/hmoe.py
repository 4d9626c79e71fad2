"""HMoE, "Improving Multi-Scenario Learning to Rank in E-commerce" (Li et al. 2020).

All scenarios share experts; each has a gate and a tower of its own, and the towers of others help:

    z_p = sum over m of softmax(x G_p)_m f_m;      s_p = tower_p(z_p)
    y   = sum over p of softmax(x V)_p s_p         no gradient to s_p but of the row's own scenario

for each task, whose logit is y. As in fun-rec's account of it, chapter 2.5, with one V a task.
Gates of each scenario's own are its variant: in the paper all towers read one mixture.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.architectures.scenarios import check_scenario, scenario_of
from dtn_jax.models.dropout import Dropout
from dtn_jax.models.gates import Gate
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import at_least_float32, dense, flat
from dtn_jax.models.tokens import PerToken
from dtn_jax.options import option


class HMoE(Architecture):
    """Group: `shared`. A task's gate is that of the row's own scenario.

    Attributes:
      scenarios: P, the rows of the scenario's table.
    """

    scenarios: int = 0
    scenario: tuple[str, ...] = option(
        (), "the field of scenarios; () that of the role scenario", items=str, role="scenario"
    )

    @classmethod
    def layout(cls, schema, own):
        return ((SHARED,),)

    @classmethod
    def check(cls, schema, own):
        check_scenario("hmoe", schema, own.scenario)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, by all scenarios' towers."""
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        outputs = self.experts(fields, inputs.codewords, train)[SHARED]
        x, f = flat(fields), jnp.stack(list(outputs.values()), axis=1)
        P, exact = self.scenarios, at_least_float32(self.dtype)
        at = scenario_of(inputs, self.scenario, P)
        logits, gates = {}, {}
        for task in self.tasks:
            scores = dense(P * len(outputs), self.dtype, name=f"gate_{task.name}")(x)
            g = nn.softmax(scores.reshape(-1, P, len(outputs)).astype(exact))
            h = jnp.einsum("bpm,bmh->bph", g.astype(self.dtype), f)
            for layer, width in enumerate(self.tower.keywords["hidden"]):
                name = f"tower_{task.name}_{layer}"
                h = Dropout(self.dropout)(nn.relu(PerToken(width, self.dtype, name=name)(h)), train)
            s = PerToken(1, exact, name=f"tower_{task.name}_logit")(h)[:, :, 0]
            s = jnp.where(at > 0, s, stop_gradient(s))
            w = Gate(P, use_bias=True, dtype=self.dtype, name=f"label_{task.name}")(x)
            logits[task.name] = jnp.sum(w * s, axis=-1)
            own = jnp.einsum("bpm,bp->bm", g, at.astype(exact))
            gates[task.name] = by_expert(own, outputs)
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": outputs})
