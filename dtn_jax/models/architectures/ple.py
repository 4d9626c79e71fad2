"""PLE, "Progressive Layered Extraction" (Tang et al. 2020).

A stream for each task t and one that is shared pass through levels. With s the streams of the
level below (at first, the fields) and E_g the experts of group g, each reading stream s_g:

    s'_t      = sum over m in (E_t, E_shared)  softmax(s_t W_t)_m f_m
    s'_shared = sum over m in all experts      softmax(s_shared W_shared)_m f_m

The last level has no shared stream; a task's logit is tower_t(s_t). Gates have no bias.
"""

from __future__ import annotations

from typing import ClassVar

from dtn_jax.interface import SHARED
from dtn_jax.models.architectures.architecture import merged
from dtn_jax.models.architectures.levels import Levels
from dtn_jax.options import option


class PLE(Levels):
    """Groups of a level: the tasks and `shared`."""

    gate_bias: ClassVar[bool] = False

    depth: int = option(2, "extraction levels", least=1, most=100, key="model.ple.levels")

    def seen(self, group, outputs):
        """The group's own experts and the shared ones; by `shared`, all."""
        return merged(outputs) if group == SHARED else outputs[group] | outputs[SHARED]
