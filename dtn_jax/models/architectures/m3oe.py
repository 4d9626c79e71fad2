"""M3oE, "M3oE: Multi-Domain Multi-Task Mixture-of-Experts Recommendation Framework" (Zhang et al.
2024, arXiv 2404.18465).

There are experts f that all share, those of each scenario d, E_d, and those of each task t, E_t:

    u = relu(LN(star(x) W + b)) + relu(LN(x V + c))         star as in `scenarios.StarLayer`
    z = sum over m of softmax(u G_dt)_m f_m + w_D mix(E, d, b_D) + w_T mix(E, t, b_T)
    mix(E, i, b) = b E_i + (1 - b) (mean of the others)

All experts read u; the gates read it too, without a gradient. The weights w and b are sigmoids of
learned numbers. A row of scenario d has as the logit of t what the tower of (d, t) makes of z.

These are the equations of the authors' code (Applied-Machine-Learning-Lab/M3oE), which has one
expert for each scenario and task: of several, E is the mean. Its towers normalise their layers.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import merged
from dtn_jax.models.architectures.scenarios import ByScenario, StarLayer
from dtn_jax.models.gates import mix, shares
from dtn_jax.models.layers import dense, flat, layer_norm
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class M3oE(ByScenario):
    """Groups: `shared`, the tasks, and the scenarios, `scenario_0` and so on."""

    hidden: int = option(64, "width of u, which the experts read", least=1)

    @classmethod
    def layout(cls, schema, own):
        rows = next(field.rows for field in schema.read if field.name == own.scenario[0])
        return ((SHARED, *schema.task_names, *(f"scenario_{d}" for d in range(rows))),)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, of the row's own scenario."""
        fields = self.read(inputs, train)
        x, at, D = flat(fields).astype(self.dtype), self.scenario_of(inputs), self.scenarios
        star = StarLayer(D, self.hidden, self.dtype, name="star")(x, at)
        u = self._layer(star, "star_layer") + self._layer(x, "skip")
        outputs = self.experts(u[:, None], inputs.codewords, train)
        E = {group: sum(f.values()) / len(f) for group, f in outputs.items()}
        E_d = jnp.stack([E[f"scenario_{d}"] for d in range(D)], axis=1)
        E_t = jnp.stack([E[task.name] for task in self.tasks], axis=1)
        f = list(outputs[SHARED].values())
        learned = self.param("weights", nn.initializers.ones, (4,), at.dtype)
        w_D, w_T, b_D, b_T = nn.sigmoid(learned).astype(self.dtype)
        at_d = at.astype(self.dtype)
        of_scenario = w_D * mixed(E_d, at_d, b_D)
        logits, effective = {}, {}
        for i, task in enumerate(self.tasks):
            gate = dense(D * len(f), self.dtype, name=f"gate_{task.name}")(stop_gradient(u))
            each = nn.softmax(gate.reshape(-1, D, len(f)).astype(at.dtype))
            weights = jnp.einsum("bdm,bd->bm", each, at)
            at_t = jnp.zeros(E_t.shape[:2], self.dtype).at[:, i].set(1)
            of_task = w_T * mixed(E_t, at_t, b_T)
            z = mix(weights, f) + of_scenario + of_task
            h = jnp.broadcast_to(z[:, None], (z.shape[0], D, z.shape[1]))
            s = self.scenario_towers(task.name, h, train)
            logits[task.name] = jnp.sum(s * at, axis=-1)
            of_groups = jnp.concatenate([w_T * parts(at_t, b_T), w_D * parts(at_d, b_D)], axis=1)
            scale = {SHARED: weights.T} | dict(zip(list(outputs)[1:], of_groups.T))
            effective[task.name] = {
                path: scale[SHARED][m] if group == SHARED else scale[group] / len(experts)
                for group, experts in outputs.items()
                for m, path in enumerate(experts)
            }
        gates = {task: shares(scales) for task, scales in effective.items()}
        intermediates = {"gates": gates, "effective": effective, "experts": merged(outputs)}
        return Outputs(logits=logits, intermediates=intermediates)

    def _layer(self, x: Float[Array, "B K"], name: str) -> Float[Array, "B H"]:
        """relu(LN(x W + b))."""
        h = dense(self.hidden, self.dtype, name=name)(x)
        return nn.relu(layer_norm(h, self.dtype, f"{name}_norm"))


def mixed(
    E: Float[Array, "B n H"], at: Float[Array, "B n"], b: Float[Array, ""]
) -> Float[Array, "B H"]:
    """b E_i + (1 - b) (mean of the others), where i is the one at which `at` is 1."""
    return jnp.einsum("bnh,bn->bh", E, parts(at, b))


def parts(at: Float[Array, "B n"], b: Float[Array, ""]) -> Float[Array, "B n"]:
    """What `mixed` multiplies each E by."""
    return b * at + (1 - b) * (1 - at) / max(at.shape[1] - 1, 1)
