"""KuaiRand-Pure at fixed dates: click → long view, profile enter, comment, forward, follow."""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "kuairand_pure"
    config.train.epochs = 3
    config.train.select = "click+long_view"  # the others have few positives
    return variant(config, argument)
