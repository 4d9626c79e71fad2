"""A config: assembled from the options that its owners declare, loaded, overridden and checked."""

from dtn_jax.config.files import load_config, override, variant
from dtn_jax.config.identity import differing, identity
from dtn_jax.config.sections import base_config, checked_config, declarations, defaults, flatten

__all__ = [
    "base_config",
    "checked_config",
    "declarations",
    "defaults",
    "differing",
    "flatten",
    "identity",
    "load_config",
    "override",
    "variant",
]
