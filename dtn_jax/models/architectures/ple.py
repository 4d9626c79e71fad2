"""PLE, "Progressive Layered Extraction" (Tang et al. 2020).

A stream for each task t and one that is shared pass through levels. With s the streams of the
level below (at first, the fields) and E_g the experts of group g, each reading stream s_g:

    s'_t      = sum over m in (E_t, E_shared)  softmax(s_t W_t)_m f_m
    s'_shared = sum over m in all experts      softmax(s_shared W_shared)_m f_m

The last level has no shared stream; a task's logit is tower_t(s_t). Gates have no bias.
"""

from __future__ import annotations

from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.gates import Gate, mix
from dtn_jax.models.groups import by_expert
from dtn_jax.models.layers import flat
from dtn_jax.options import option


class PLE(Architecture):
    """Groups of a level: the tasks and `shared`."""

    depth: int = option(2, "extraction levels", least=1, most=100, key="model.ple.levels")

    @classmethod
    def layout(cls, schema, own):
        return ((*schema.task_names, SHARED),) * own.depth

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its gate's mix on the last level."""
        fields = self.read(inputs, train)
        streams = {group: fields for group, _ in self.groups}  # all groups read the one input
        gates, experts = {}, {}
        for level in range(self.depth):
            read = streams if level else fields
            outputs = self.experts(read, inputs.codewords, train, level)
            experts |= merged(outputs)
            mixed = {}
            for group, own in outputs.items():
                if group == SHARED and level == self.depth - 1:
                    continue
                seen = merged(outputs) if group == SHARED else own | outputs[SHARED]
                name = f"gate_{level}_{group}"
                gate = Gate(len(seen), use_bias=False, dtype=self.dtype, name=name)
                weights = gate(flat(streams[group]))
                mixed[group] = mix(weights, list(seen.values()))[:, None, :]  # a field of width H
                gates[f"{group}/level_{level}"] = by_expert(weights, seen)
            streams = mixed
        logits = self.towers({t.name: flat(streams[t.name]) for t in self.tasks}, train)
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": experts})
