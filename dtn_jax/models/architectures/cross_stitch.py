"""Cross-stitch networks, "Cross-stitch Networks for Multi-task Learning" (Misra et al. 2016).

Every task has a network of its own; after each level a unit mixes their outputs. With x_t the
outputs of task t's experts, side by side, and learned numbers c,

    s_t = sum over tasks u of  c_tu x_u        (equation 1)

is what the next level of t reads, and after the last one its tower. At first c_tt is 0.9 and the
others share 0.1, as the paper found best.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.gates import shares
from dtn_jax.models.layers import at_least_float32, flat
from dtn_jax.options import option

OWN = 0.9  # c_tt at first


class CrossStitch(Architecture):
    """Groups of a level: the tasks, all with as many experts. Gates: what a unit's numbers, which
    are `effective` weights, have of their sum."""

    depth: int = option(
        2,
        "levels of experts, a unit after each",
        least=1,
        most=100,
        key="model.cross_stitch.levels",
    )

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names,) * own.depth

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its stream after the last unit.

        Raises:
          UserError: groups with more experts than others.
        """
        fields = self.read(inputs, train)
        streams, experts, stitched, exact = {}, {}, {}, at_least_float32(self.dtype)
        rows = jnp.ones(inputs.row_mask.shape, exact)
        for level in range(self.depth):
            outputs = self.experts(streams if level else fields, inputs.codewords, train, level)
            if len({len(named) for named in outputs.values()}) > 1:
                raise UserError("cross_stitch adds up outputs: give all as many experts")
            experts |= merged(outputs)
            c = self.param(f"unit_{level}", stitches, len(outputs), exact)
            for task, of_tasks in zip(outputs, c[:, :, None] * rows[None, None]):
                stitched[f"{task}/level_{level}"] = dict(zip(outputs, of_tasks))
            x = [jnp.concatenate(list(f.values()), axis=-1) for f in outputs.values()]
            s = jnp.einsum("tu,ubk->tbk", c.astype(self.dtype), jnp.stack(x))
            streams = {task: s[i, :, None] for i, task in enumerate(outputs)}  # one field
        logits = self.towers({t.name: flat(streams[t.name]) for t in self.tasks}, train)
        gates = {gate: shares(weights) for gate, weights in stitched.items()}
        intermediates = {"gates": gates, "effective": stitched, "experts": experts}
        return Outputs(logits=logits, intermediates=intermediates)


def stitches(key, size: int, dtype: Any) -> jnp.ndarray:
    """c at first, `[T, T]`; of one task [[1]]."""
    own = OWN if size > 1 else 1.0
    other = (1 - own) / max(size - 1, 1)
    return jnp.full((size, size), other, dtype) + (own - other) * jnp.eye(size, dtype=dtype)
