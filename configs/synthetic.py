"""Synthetic impressions with a known answer: click → cart → order.

    python -m experiments.train --config=configs/synthetic.py:dtn --workdir=runs/synthetic_dtn

200,000 rows over 20,000 ids; other sizes by --config.data.options='rows=100000000,ids=2000000'.

TUNED has nothing yet.
"""

from dtn_jax.config import base_config, variant

TUNED = {}


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "synthetic"
    config.data.options = "rows=200000"
    config.train.epochs = 3
    config.optim.schedule = "cosine"
    config.model.embedding_dim = 8
    config.model.masknet.mask_hidden = 64
    config.model.masknet.block_dim = 64
    return variant(config, argument, flags={"quick": quick}, tuned=TUNED)


def quick(config):
    config.data.options = "rows=100000"
    config.train.epochs = 1
