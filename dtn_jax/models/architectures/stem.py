"""STEM-Net, "Unleashing the Power of Embeddings for Multi-task Recommendation" (Su et al. 2024).

Every task has embedding tables of its own beside the shared ones. With s_g the stream of group g
(at first, its view of the fields) and E_g its experts, which read s_g,

    s'_t      = sum over m in all experts  softmax((s_t + s_shared) W_t + b_t)_m f_m
    s'_shared = sum over m in all experts  softmax(s_shared W_shared + b_shared)_m f_m

where no gradient reaches the experts of other tasks through s'_t (all forward, task-specific
backward): with one level, a task's tables are moved by its own loss alone. The last level has no
shared stream; a task's logit is tower_t(s_t). Gates are one linear layer, as everywhere here; the
authors' code has small MLPs for them by default.
"""

from __future__ import annotations

from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.gates import Gate, mix
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import flat
from dtn_jax.options import option


class STEM(Architecture):
    """Groups of a level, and views: the tasks and `shared`."""

    depth: int = option(1, "fusion levels", least=1, most=100, key="model.stem.levels")

    @classmethod
    def layout(cls, schema, own):
        return (cls.views(schema, own),) * own.depth

    @classmethod
    def views(cls, schema, own):
        return (*schema.task_names, SHARED)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its gate's mix on the last level."""
        streams = {group: self.read(inputs, train, group) for group, _ in self.groups}
        gates, experts = {}, {}
        for level in range(self.depth):
            outputs = self.experts(streams, inputs.codewords, train, level)
            mixed = {}
            for group in outputs:
                if group == SHARED and level == self.depth - 1:
                    continue
                seen = {
                    name: f if group in (SHARED, owner) or owner == SHARED else stop_gradient(f)
                    for owner, named in outputs.items()
                    for name, f in named.items()
                }
                read = flat(streams[SHARED])
                if group != SHARED:
                    read = read + flat(streams[group])
                name = f"gate_{level}_{group}"
                weights = Gate(len(seen), use_bias=True, dtype=self.dtype, name=name)(read)
                mixed[group] = mix(weights, list(seen.values()))[:, None, :]  # a field of width H
                gates[f"{group}/level_{level}"] = by_expert(weights, seen)
            experts |= merged(outputs)
            streams = mixed
        logits = self.towers({t.name: flat(streams[t.name]) for t in self.tasks}, train)
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": experts})
