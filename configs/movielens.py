"""MovieLens: like (a rating of 4 or more) and rating.

    dtn-jax train --config=configs/movielens.py:dtn --workdir=runs/movielens_dtn

A million ratings; 25 million by --config.data.options=version=25m.
"""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "movielens"
    config.train.epochs = 3
    return variant(config, argument)
