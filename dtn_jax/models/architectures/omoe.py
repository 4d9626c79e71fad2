"""OMoE, the one-gate mixture of experts that MMoE is compared with (Ma et al. 2018).

a = softmax(x W + b);  z = sum over m of a_m f_m;  a task's logit is tower_t(z): all tasks read one
mixture.
"""

from __future__ import annotations

from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.gates import Gate, mix
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import flat


class OMoE(Architecture):
    """Group: `shared`. The one gate is reported for each task."""

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from the one mix of the shared experts."""
        fields, outputs = self.shared_experts(inputs, train)
        weights = Gate(len(outputs), use_bias=True, dtype=self.dtype, name="gate")(flat(fields))
        z = mix(weights, list(outputs.values()))
        logits = self.towers({task.name: z for task in self.tasks}, train)
        gates = {task.name: by_expert(weights, outputs) for task in self.tasks}
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": outputs})
