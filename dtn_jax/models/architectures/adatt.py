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

from dtn_jax.interface import SHARED
from dtn_jax.models.architectures.levels import Levels
from dtn_jax.models.layers import at_least_float32
from dtn_jax.options import option


class AdaTT(Levels):
    """Groups of a level: the tasks and, but for AdaTT-sp, `shared`."""

    depth: int = option(2, "fusion levels", least=1, most=100, key="model.adatt.levels")
    shared_group: bool = option(True, "the group owned by all tasks; False is AdaTT-sp")

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names + ((SHARED,) if own.shared_group else ()),) * own.depth

    def native(self, name, size):
        """v_g of a level, `[M]`; at first uniform within 1 / sqrt(M) of 0."""
        exact, bound = at_least_float32(self.dtype), 1 / math.sqrt(size)
        if all(len(experts) == 1 for _, experts in self.groups):
            return jnp.ones(size, exact)

        def draw(key):
            return jax.random.uniform(key, (size,), exact, minval=-bound, maxval=bound)

        return self.param(name, draw)
