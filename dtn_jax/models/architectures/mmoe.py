"""MMoE, "Modeling Task Relationships in Multi-task Learning with Multi-gate MoE" (Ma et al. 2018).

a_t = softmax(x W_t);  z_t = sum over m of a_tm f_m;  a task's logit is tower_t(z_t).
"""

from __future__ import annotations

from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.parts import SHARED, Architecture, ExpertGroup, Groups, by_expert
from dtn_jax.models.experts.mlp import flat
from dtn_jax.models.gates import Gate, mix


class MMoE(Architecture):
    """Group: `shared`. The gates have no bias."""

    groups: Groups

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        ((group, experts),) = self.groups
        x = flat(fields)
        products = self.first_products(x, self.groups, [f"gate_{t.name}" for t in self.tasks])
        run = ExpertGroup(experts, self.dropout, name=group)
        outputs = run(fields, inputs.codewords, train, products)
        logits, gates = {}, {}
        for task in self.tasks:
            name = f"gate_{task.name}"
            gate = Gate(len(outputs), use_bias=False, dtype=self.dtype, name=name)
            weights = gate(x, products.get(name))
            z = mix(weights, list(outputs.values()))
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train)
            gates[task.name] = by_expert(weights, outputs)
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": outputs})
