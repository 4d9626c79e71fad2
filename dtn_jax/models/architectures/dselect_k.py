"""DSelect-k, "Differentiable Selection in the Mixture of Experts" (Hazimeh et al., NeurIPS 2021).

A task's gate picks k of the M experts. Each of its selectors writes an expert's number in binary,
n = ceil(log2 M) digits, every one learned between 0 and 1:

    d   = S(x Z + c)  `[k, n]`,   S(t) = 0 below -1/2, 1 above 1/2, -2 t^3 + 3/2 t + 1/2 between
    r_m = the product over digits of d where m has a 1, and of 1 - d where it has a 0
    q   = softmax(x W + b)  `[k]`;   a_m = sum over selectors of q r_m

z_t = sum over m of a_m f_m, and a task's logit is tower_t(z_t). The entropy of the selectors, times
`entropy`, joins the loss until each picks one expert. Equations as in the paper's sections 3.2 and
3.3 and median-research-group/LibMTL, but for the numbers from M to 2^n - 1. There these stand for
no expert, and a penalty 1 / (sum over m of r_m) keeps selectors away, which has no gradient any
more once a selector has settled on one. Here they stand for the first experts once again.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.gates import mix
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import at_least_float32, flat
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class DSelectK(Architecture):
    """Group: `shared`."""

    k: int = option(2, "experts that a task's gate picks, at most", least=1, most=1000)
    entropy: float = option(1e-2, "weight of the selectors' entropy in the loss", least=0)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit; `aux` has the entropy."""
        fields, outputs = self.shared_experts(inputs, train)
        logits, gates, entropy = {}, {}, 0
        for task in self.tasks:
            gate = BinaryGate(len(outputs), self.k, self.dtype, name=f"gate_{task.name}")
            weights, undecided = gate(flat(fields))
            entropy = entropy + self.entropy * undecided
            z = mix(weights, list(outputs.values()))
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train)
            gates[task.name] = by_expert(weights, outputs)
        aux = {"entropy": entropy} if self.entropy and len(outputs) > 1 else {}
        intermediates = {"gates": gates, "experts": outputs}
        return Outputs(logits=logits, aux=aux, intermediates=intermediates)


class BinaryGate(nn.Module):
    """The weights a `[B, M]` of M experts by k selectors, and how undecided those are, `[B]`."""

    size: int
    k: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B W"]) -> tuple[Float[Array, "B M"], Float[Array, " B"]]:
        """Of each row."""
        digits = math.ceil(math.log2(self.size))
        numbers = np.arange(2**digits)
        codes = (numbers[:, None] >> np.arange(digits)[None]) & 1  # [2^n, n]
        t = self._linear(x, self.k * digits, 0.01, "digits").reshape(x.shape[0], self.k, 1, digits)
        d = smooth_step(t)
        r = jnp.prod(jnp.where(codes[None, None] == 1, d, 1 - d), axis=-1)  # [B, k, 2^n]
        r = r @ np.eye(self.size, dtype=r.dtype)[numbers % self.size]  # [B, k, M]
        q = nn.softmax(self._linear(x, self.k, 0.05, "weights"))
        undecided = -jnp.sum(r * jnp.log(r + 1e-6), axis=(1, 2))
        return jnp.sum(q[:, :, None] * r, axis=1), undecided

    def _linear(self, x: Array, size: int, bound: float, name: str) -> Array:
        exact = at_least_float32(self.dtype)
        symmetric = nn.initializers.uniform(2 * bound)

        def init(*given):
            return symmetric(*given) - bound

        layer = nn.Dense(size, dtype=self.dtype, param_dtype=exact, kernel_init=init, name=name)
        return layer(x).astype(exact)


def smooth_step(t: Float[Array, ...]) -> Float[Array, ...]:
    """S(t): 0, a cubic, 1; its derivative is continuous."""
    t = jnp.clip(t, -0.5, 0.5)
    return -2 * t**3 + 1.5 * t + 0.5
