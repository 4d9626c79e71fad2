"""AdaTT, "Adaptive Task-to-Task Fusion Network" (Li et al. 2023).

A stream for each task, and one that is shared, pass through levels. With s_g the stream of group g
(at first, the fields), E_g its native experts, which read s_g, and v_g learned numbers,

    s'_g = sum over m in all experts  softmax(s_g W_g + b_g)_m f_m   +   sum over m in E_g  v_gm f_m

for the tasks, and below the last level for `shared`. Where every group has one expert v is 1. A
task's logit is tower_t(s_t). Without the shared group this is AdaTT-sp.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.gates import Gate, mix
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import flat
from dtn_jax.options import option


class AdaTT(Architecture):
    """Groups of a level: the tasks and, but for AdaTT-sp, `shared`."""

    depth: int = option(2, "fusion levels", least=1, most=100, key="model.adatt.levels")
    shared_group: bool = option(True, "the group owned by all tasks; False is AdaTT-sp")

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names + ((SHARED,) if own.shared_group else ()),) * own.depth

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its stream after the last level."""
        fields = self.read(inputs, train)
        streams = {group: fields for group, _ in self.groups}
        gates, effective, experts = {}, {}, {}
        for level in range(self.depth):
            read = streams if level else fields
            outputs = self.experts(read, inputs.codewords, train, level)
            seen = merged(outputs)
            mixed = {}
            for group, own in outputs.items():
                if group == SHARED and level == self.depth - 1:
                    continue
                name = f"gate_{level}_{group}"
                gate = Gate(len(seen), use_bias=True, dtype=self.dtype, name=name)
                weights = gate(flat(streams[group]))
                fused = mix(weights, list(seen.values()))
                native = self.native(f"native_{level}_{group}", len(own), len(seen) > len(outputs))
                residual = sum(v * f for v, f in zip(native, own.values()))
                mixed[group] = (fused + residual.astype(fused.dtype))[:, None, :]
                gate = f"{group}/level_{level}"
                gates[gate] = by_expert(weights, seen)
                effective[gate] = gates[gate] | {
                    expert: gates[gate][expert] + v for expert, v in zip(own, native)
                }
            experts |= seen
            streams = mixed
        logits = self.towers({t.name: flat(streams[t.name]) for t in self.tasks}, train)
        intermediates = {"gates": gates, "effective": effective, "experts": experts}
        return Outputs(logits=logits, intermediates=intermediates)

    def native(self, name: str, size: int, learned: bool) -> jax.Array:
        """v_g of a level, `[M]`; at first uniform within 1 / sqrt(M) of 0."""
        if not learned:
            return jnp.ones(size)
        bound = 1 / math.sqrt(size)

        def draw(key):
            return jax.random.uniform(key, (size,), minval=-bound, maxval=bound)

        return self.param(name, draw)
