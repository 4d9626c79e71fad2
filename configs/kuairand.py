"""KuaiRand's standard log: click → long view, profile enter, comment, forward, follow."""

from configs import base
from dtn_jax.options import variant


def get_config(argument: str = ""):
    config = base.get_config()
    config.data.dataset = "kuairand"
    config.train.epochs = 2
    return variant(config, argument)
