"""Your own logs, as a schema file describes them.

    python -m experiments.prepare --infer --input='logs/*.parquet' --out=shop.yaml
    python -m experiments.prepare --schema=shop.yaml --input='logs/*.parquet' --data_dir=data
    python -m experiments.train --config=configs/logs.py:dtn,schema=shop.yaml --workdir=runs/shop \
        --config.data.data_dir=data

The argument names the schema file, an architecture (dtn, shared_bottom, ...), flags (`quick`: one
pass with small embeddings) and key=value pairs.
"""

from dtn_jax.config import base_config, variant
from dtn_jax.datasets.logs.schema import named_schema


def get_config(argument: str = ""):
    options, rest = named_schema.from_argument(argument)
    config = base_config()
    config.data.dataset, config.data.options = "logs", options
    config.train.epochs = 2
    return variant(config, rest, flags={"quick": quick})


def quick(config):
    config.train.epochs = 1
    config.model.embedding_dim = 8
