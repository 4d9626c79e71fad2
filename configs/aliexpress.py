"""AliExpress' search in one country: click → conversion.

    dtn-jax train --config=configs/aliexpress.py:dtn --workdir=runs/aliexpress_dtn

The Netherlands; another country by --config.data.options=country=ES (or FR, US).
"""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "aliexpress"
    config.data.batch_size = 2048
    config.train.epochs = 2
    return variant(config, argument)
