"""Architectures whose streams, one a group, pass through levels of experts.

With s_g the stream of group g (at first, the fields), E_g its experts, which read s_g, and x_g what
its gate reads,

    s'_g = sum over m in what g sees  softmax(x_g W_g)_m f_m   +   sum over m in E_g  v_gm f_m

An architecture says what a group sees, what its gate reads, and v, which most leave out. The last
level has no shared stream; a task's logit is tower_t(s_t).

Letters: B batch, F fields, D embedding width, W a stream's width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import jax
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.gates import Gate, mix
from dtn_jax.models.groups import Named, by_expert
from dtn_jax.models.layers import flat
from dtn_jax.shapes import Array, Float


class Levels(Architecture):
    """Groups of a level: the tasks and `shared`.

    Attributes:
      gate_bias: whether a gate has one.
      own_streams: whether each gate reads its group's stream, as `asking` has it.
      depth: how many levels.
    """

    gate_bias: ClassVar[bool] = True
    own_streams: ClassVar[bool] = True

    depth: int = 1

    @classmethod
    def layout(cls, schema, own):
        return ((*schema.task_names, SHARED),) * own.depth

    def fields(self, inputs: Inputs, train: bool) -> Array | dict[str, Array]:
        """The fields that all groups of the first level read, or {group: those that it reads}."""
        return self.read(inputs, train)

    def seen(self, group: str, outputs: Mapping[str, Named]) -> Named:
        """The experts that the gate of a group weighs: all."""
        return merged(outputs)

    def asking(self, group: str, streams: Mapping[str, Float[Array, "B F D"]]) -> Array:
        """What the gate of a group reads, `[B, W]`: its stream."""
        return flat(streams[group])

    def native(self, name: str, size: int) -> jax.Array | None:
        """v of a group of `size` experts, a parameter of this name; None for none."""

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its stream after the last level."""
        read = self.fields(inputs, train)
        gates, effective, experts = {}, {}, {}
        for level in range(self.depth):
            gated = {f"gate_{level}_{group}": group for group, _ in self.levels[level]}
            outputs, products = self.gated_experts(
                read, inputs.codewords, train, level, gated if self.own_streams else {}
            )
            experts |= merged(outputs)
            streams = read if isinstance(read, Mapping) else dict.fromkeys(outputs, read)
            read = {}
            for group, own in outputs.items():
                if group == SHARED and level == self.depth - 1:
                    continue
                at, seen = f"{level}_{group}", self.seen(group, outputs)
                gate = Gate(len(seen), self.gate_bias, self.dtype, name=f"gate_{at}")
                weights = gate(self.asking(group, streams), products.get(gate.name))
                stream = mix(weights, list(seen.values()))
                shown = gates[f"{group}/level_{level}"] = by_expert(weights, seen)
                v = self.native(f"native_{at}", len(own))
                if v is not None:
                    added = sum(v_m * f for v_m, f in zip(v, own.values()))
                    stream = stream + added.astype(stream.dtype)
                    together = {name: shown[name] + v_m for name, v_m in zip(own, v)}
                    effective[f"{group}/level_{level}"] = shown | together
                read[group] = stream[:, None, :]  # a field of width H
        logits = self.towers({t.name: flat(read[t.name]) for t in self.tasks}, train)
        intermediates = {"gates": gates, "effective": effective, "experts": experts}
        return Outputs(logits=logits, intermediates=intermediates)
