"""KDD Census-Income, official splits: income above 50K, never married."""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "census_income"
    config.train.epochs = 2
    return variant(config, argument)
