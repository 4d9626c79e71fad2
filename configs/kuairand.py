"""KuaiRand's standard log: click → long view, profile enter, comment, forward, follow."""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "kuairand"
    config.data.batch_size = 256
    config.train.epochs = 3
    config.train.select = "click+long_view"  # the others have few positives
    config.optim.schedule = "cosine"
    config.optim.table_learning_rate = 5e-3  # most ids are seen a few times
    config.model.masknet.mask_hidden = 64
    config.model.masknet.block_dim = 64
    return variant(config, argument)
