"""PLE, "Progressive Layered Extraction" (Tang et al. 2020).

A stream for each task t and one that is shared pass through levels. With s the streams of the
level below (at first, the fields) and E_g the experts of group g, each reading stream s_g:

    s'_t      = sum over m in (E_t, E_shared)  softmax(s_t W_t)_m f_m
    s'_shared = sum over m in all experts      softmax(s_shared W_shared)_m f_m

The last level has no shared stream; a task's logit is tower_t(s_t). Gates have no bias.
"""

from __future__ import annotations

from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.parts import SHARED, Architecture, ExpertGroup, Groups, by_expert
from dtn_jax.models.experts.mlp import flat
from dtn_jax.models.gates import Gate, mix


class PLE(Architecture):
    """Groups of a level: the tasks and `shared`.

    Attributes:
      levels: the experts of each group, a level after the other.
    """

    levels: tuple[Groups, ...]

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        streams = {group: fields for group, _ in self.levels[0]}  # all groups read the one input
        gates, experts = {}, {}
        for level, groups in enumerate(self.levels):
            outputs, products = {}, {}
            last = level == len(self.levels) - 1
            for readers in [groups] if level == 0 else [(group,) for group in groups]:
                products |= self.first_products(
                    flat(streams[readers[0][0]]),
                    tuple((f"level_{level}_{group}", members) for group, members in readers),
                    [f"gate_{level}_{g}" for g, _ in readers if not (last and g == SHARED)],
                )
            for group, members in groups:
                run = ExpertGroup(members, self.dropout, name=f"level_{level}_{group}")
                outputs[group] = run(streams[group], inputs.codewords, train, products)
                experts |= outputs[group]
            mixed = {}
            for group, own in outputs.items():
                if group == SHARED and last:
                    continue
                if group == SHARED:
                    seen = {name: f for named in outputs.values() for name, f in named.items()}
                else:
                    seen = own | outputs[SHARED]
                name = f"gate_{level}_{group}"
                gate = Gate(len(seen), use_bias=False, dtype=self.dtype, name=name)
                weights = gate(flat(streams[group]), products.get(name))
                mixed[group] = mix(weights, list(seen.values()))[:, None, :]  # a field of width H
                gates[f"{group}/level_{level}"] = by_expert(weights, seen)
            streams = mixed
        logits = {
            task.name: self.tower(name=f"tower_{task.name}")(flat(streams[task.name]), train)
            for task in self.tasks
        }
        return Outputs(logits=logits, intermediates={"gates": gates, "experts": experts})
