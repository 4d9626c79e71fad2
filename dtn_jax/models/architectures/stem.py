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

from typing import ClassVar

from jax.lax import stop_gradient

from dtn_jax.interface import SHARED
from dtn_jax.models.architectures.levels import Levels
from dtn_jax.models.layers import flat
from dtn_jax.options import option


class STEM(Levels):
    """Groups of a level, and views: the tasks and `shared`."""

    own_streams: ClassVar[bool] = False

    depth: int = option(1, "fusion levels", least=1, most=100, key="model.stem.levels")

    @classmethod
    def views(cls, schema, own):
        return (*schema.task_names, SHARED)

    def fields(self, inputs, train):
        """{group: its view of the fields}"""
        return {group: self.read(inputs, train, group) for group, _ in self.groups}

    def seen(self, group, outputs):
        """All experts, those of other tasks without a gradient."""
        reached = (group, SHARED)
        return {
            name: f if group == SHARED or owner in reached else stop_gradient(f)
            for owner, named in outputs.items()
            for name, f in named.items()
        }

    def asking(self, group, streams):
        """The shared stream and, for a task, its own beside it, summed."""
        shared = flat(streams[SHARED])
        return shared if group == SHARED else shared + flat(streams[group])
