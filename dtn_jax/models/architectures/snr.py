"""SNR-Trans, "SNR: Sub-Network Routing for Flexible Parameter Sharing" (Ma et al., AAAI 2019).

Which expert feeds which task is learned, by a switch z between 0 and 1 on each connection:

    v_t = sum over m of  z_tm W_tm f_m,      a task's logit is tower_t(v_t)
    z   = clip(s (zeta - gamma) + gamma, 0, 1)
    s   = sigmoid((log u - log(1 - u) + log alpha) / beta),   u ~ U(0, 1)   in training
    s   = sigmoid(log alpha)                                                in scoring

log alpha is learned for each connection, and u drawn for each step. The penalty `l0` times the sum
of sigmoid(log alpha - beta log(-gamma / zeta)), how likely a switch is not 0, closes what is of no
use. The equations are those of google/ehr-predictions, `nets/snr.py`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.gates import shares
from dtn_jax.models.layers import at_least_float32, dense
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float

BETA, GAMMA, ZETA = 0.9, -0.1, 1.1
SMALLEST = 1e-6  # of u and of 1 - u


class SNR(Architecture):
    """Group: `shared`. The switches are `effective` weights; as gates, they are shown as shares."""

    l0: float = option(1e-4, "weight of the penalty on open connections", least=0)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit; `aux` has the penalty."""
        _, outputs = self.shared_experts(inputs, train)
        shape = (len(self.tasks), len(outputs))
        exact = at_least_float32(self.dtype)
        log_alpha = self.param("log_alpha", nn.initializers.zeros, shape, exact)
        z = self.switches(log_alpha, train)
        logits = {}
        for i, task in enumerate(self.tasks):
            v = 0
            for m, (name, f) in enumerate(outputs.items()):
                layer = f"route_{task.name}_{name.replace('/', '_')}"
                routed = dense(f.shape[-1], self.dtype, name=layer, use_bias=False)(f)
                v = v + z[i, m].astype(self.dtype) * routed
            logits[task.name] = self.tower(name=f"tower_{task.name}")(v, train)
        open_ = jnp.sum(nn.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA)))
        rows = jnp.ones(inputs.row_mask.shape, exact)
        each = z[:, :, None] * rows[None, None]  # of the same value in all rows
        switches = {t.name: dict(zip(outputs, each[i])) for i, t in enumerate(self.tasks)}
        gates = {task: shares(weights) for task, weights in switches.items()}
        return Outputs(
            logits=logits,
            aux={"l0": self.l0 * open_ * rows} if self.l0 else {},
            intermediates={"gates": gates, "effective": switches, "experts": outputs},
        )

    def switches(self, log_alpha: Float[Array, "T M"], train: bool) -> Float[Array, "T M"]:
        """z: the same for all rows of a step, so that no split of the batch changes it."""
        s = nn.sigmoid(log_alpha)
        if train:
            key = self.make_rng("dropout")
            u = jax.random.uniform(key, log_alpha.shape, jnp.float32, SMALLEST, 1 - SMALLEST)
            u = u.astype(log_alpha.dtype)
            s = nn.sigmoid((jnp.log(u) - jnp.log1p(-u) + log_alpha) / BETA)
        return jnp.clip(s * (ZETA - GAMMA) + GAMMA, 0, 1)
