"""UCI Adult, the embedded data set: income above 50K, never married.

    python -m experiments.train --config=configs/adult.py:dtn --workdir=runs/adult_dtn

The argument names an architecture (dtn, shared_bottom, mmoe, ...), flags (`quick`: a minute's work
for a look) and key=value pairs.
"""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "adult"
    config.train.epochs = 4
    return variant(config, argument, flags={"quick": quick})


def quick(config):
    config.train.epochs = 1
    config.model.embedding_dim = 8
