"""A training step's config, without the options of data, evaluation and runs.

It needs jax, flax and ml-collections alone, so that the suite `gpu` runs on a bare accelerator.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from dtn_jax.balancing import BALANCERS
from dtn_jax.losses import LOSSES, LossOptions
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.build import ModelOptions
from dtn_jax.models.experts import EXPERTS
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.optimizers import OptimOptions
from dtn_jax.options import declared
from dtn_jax.parallel.mesh import MeshOptions
from dtn_jax.tables.lookup import DebugOptions
from dtn_jax.timetable import TrainOptions

BATCH_SIZE = 1024  # the released one
SECTIONS = {"model": ModelOptions, "loss": LossOptions, "optim": OptimOptions}
SECTIONS |= {"train": TrainOptions, "parallel": MeshOptions, "debug": DebugOptions}
MEMBERS = {
    "model": (ARCHITECTURES, EXPERTS, HISTORIES, NUMBERS),
    "loss": (LOSSES, BALANCERS),
}


def step_config() -> ConfigDict:
    """The options that a training step reads, at their defaults."""
    flat = {"seed": 0, "data.batch_size": BATCH_SIZE}
    for section, owner in SECTIONS.items():
        flat |= defaults(section, owner)
        for members in MEMBERS.get(section, ()):
            for name, member in members.items():
                flat |= defaults(f"{section}.{name}", member)
    config: dict = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        place = config
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return ConfigDict(config)


def defaults(section: str, owner: type) -> dict[str, object]:
    """{full key: default} of an owner's options."""
    return {o.key or f"{section}.{name}": o.default for name, o in declared(owner).items()}
