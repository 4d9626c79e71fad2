"""KDD Census-Income, official splits: income above 50K, never married."""

from configs import base
from dtn_jax.config import variant


def get_config(argument: str = ""):
    config = base.get_config()
    config.data.dataset = "census_income"
    config.train.epochs = 2
    return variant(config, argument)
