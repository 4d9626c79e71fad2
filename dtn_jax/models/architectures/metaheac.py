"""The hybrid experts and critics of MetaHeac (Zhu et al., KDD 2021, arXiv 2105.14688).

All tasks share experts f_m and critics c_n, which are towers; a task is a vector e_t:

    g_t = [e_t, mean of the fields];   a_t = softmax(g_t W + b),   z_t = sum over m of a_tm f_m
    b_t = softmax(g_t V + c);          p_t = sum over n of b_tn sigmoid(critic_n(z_t))

A regression's score is the same sum of the critics' own. The paper trains this by meta-learning,
an inner step a task; here it is trained as all others are.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.gates import Gate, mix
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import at_least_float32
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class MetaHeac(Architecture):
    """Group: `shared`. A task's gate `critics` has b, of the towers `shared/critic_0` and so on."""

    critics: int = option(5, "towers that all tasks share", least=1, most=1000)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its gates over experts and critics."""
        fields, outputs = self.shared_experts(inputs, train)
        mean, exact = jnp.mean(fields, axis=1), at_least_float32(self.dtype)
        shape = (len(self.tasks), mean.shape[-1])
        e = self.param("tasks", nn.initializers.glorot_uniform(), shape, exact).astype(mean.dtype)
        expert_gate = Gate(len(outputs), use_bias=True, dtype=self.dtype, name="expert_gate")
        critic_gate = Gate(self.critics, use_bias=True, dtype=self.dtype, name="critic_gate")
        towers = [self.tower(name=f"critic_{n}") for n in range(self.critics)]
        logits, gates = {}, {}
        for i, task in enumerate(self.tasks):
            g = jnp.concatenate([jnp.broadcast_to(e[None, i], mean.shape), mean], axis=-1)
            weights = expert_gate(g)
            z = mix(weights, list(outputs.values()))
            scores = jnp.stack([tower(z, train) for tower in towers], axis=-1)
            b = critic_gate(g)
            binary = task.kind == "binary"
            logits[task.name] = mixed_logit(scores, b) if binary else jnp.sum(b * scores, axis=-1)
            gates[task.name] = by_expert(weights, outputs)
            gates[f"{task.name}/critics"] = {
                f"shared/{tower.name}": weight for tower, weight in zip(towers, b.T)
            }
        intermediates = {"gates": gates, "experts": outputs}
        return Outputs(logits=logits, intermediates=intermediates)


def mixed_logit(z: Float[Array, "B N"], b: Float[Array, "B N"]) -> Float[Array, " B"]:
    """The logit of sum over n of b_n sigmoid(z_n), where b sums to 1."""
    log_b = jnp.log(jnp.maximum(b, jnp.finfo(b.dtype).tiny))
    likely = jax.nn.logsumexp(log_b + jax.nn.log_sigmoid(z), axis=-1)
    return likely - jax.nn.logsumexp(log_b + jax.nn.log_sigmoid(-z), axis=-1)
