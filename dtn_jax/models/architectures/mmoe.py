"""MMoE, "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts" (Ma
et al. 2018).

a_t = softmax(x W_t);  z_t = sum over m of a_tm f_m;  a task's logit is tower_t(z_t).
"""

from __future__ import annotations

from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.gates import Gate, mix
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import flat


class MMoE(Architecture):
    """Group: `shared`. The gates have no bias."""

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its gate's mix of the shared experts."""
        fields = self.read(inputs, train)
        names = {task: f"gate_{task.name}" for task in self.tasks}
        gated = dict.fromkeys(names.values(), SHARED)
        groups, products = self.gated_experts(fields, inputs.codewords, train, None, gated)
        logits, gates, outputs = {}, {}, groups[SHARED]
        for task, name in names.items():
            gate = Gate(len(outputs), use_bias=False, dtype=self.dtype, name=name)
            weights = gate(flat(fields), products.get(name))
            z = mix(weights, list(outputs.values()))
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train)
            gates[task.name] = by_expert(weights, outputs)
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": outputs})
