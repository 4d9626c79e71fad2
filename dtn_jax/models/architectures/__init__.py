"""Architectures: routings of experts to tasks.

A new one is a file here, with its options, groups, views and checks (architecture.py says how), and
a line in ARCHITECTURES.
"""

from __future__ import annotations

from dtn_jax.models.architectures.adatt import AdaTT
from dtn_jax.models.architectures.aitm import AITM
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.architectures.dtn import DTN
from dtn_jax.models.architectures.esmm import ESMM
from dtn_jax.models.architectures.mmoe import MMoE
from dtn_jax.models.architectures.ple import PLE
from dtn_jax.models.architectures.shared_bottom import SharedBottom
from dtn_jax.models.architectures.single_task import SingleTask
from dtn_jax.models.architectures.stem import STEM

ARCHITECTURES: dict[str, type[Architecture]] = {
    "dtn": DTN,
    "shared_bottom": SharedBottom,
    "single_task": SingleTask,
    "mmoe": MMoE,
    "ple": PLE,
    "esmm": ESMM,
    "aitm": AITM,
    "stem": STEM,
    "adatt": AdaTT,
}
