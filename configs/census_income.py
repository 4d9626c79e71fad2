"""KDD Census-Income, official splits: income above 50K, never married."""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "census_income"
    config.data.batch_size = 512
    config.train.epochs = 3
    config.optim.schedule = "cosine"
    config.model.embedding_dim = 8
    config.model.mlp.hidden = (256,)
    config.model.masknet.mask_hidden = 128
    config.model.masknet.block_dim = 64
    config.model.dcnv2.rank = 32
    config.model.hcnet.shrinking = "sum"
    return variant(config, argument)
