"""Your own logs, as a schema file describes them.

    dtn-jax prepare --infer --input='logs/*.parquet' --out=shop.yaml
    dtn-jax prepare --schema=shop.yaml --input='logs/*.parquet' --data_dir=data
    dtn-jax train --schema=shop.yaml --model=dtn --workdir=runs/shop --data_dir=data

A run stops early: it trains at a constant rate until two validations in a row, one an epoch, have
had no gain, and reports its best state. It ends after 20 epochs or 20 million examples at the
latest, but not within the first epoch. `train.patience=0` trains exactly `train.epochs`.

`--schema=shop.yaml --model=dtn` is short for `--config=configs/logs.py:dtn,schema=shop.yaml`;
without `--model`, for that with `mmoe,model.experts=mlp*4`, where docs/models.md begins. The
argument names the schema file, an architecture (dtn, shared_bottom, ...), flags (`quick`: one
pass with small embeddings) and key=value pairs.
"""

from dtn_jax.config import base_config, variant
from dtn_jax.data.schemas import named_schema


def get_config(argument: str = ""):
    options, rest = named_schema.from_argument(argument)
    config = base_config()
    config.data.dataset, config.data.options = "logs", options
    config.optim.schedule = "constant"  # one that falls to 0 would have to know the last step
    config.train.epochs, config.train.patience = 20, 2
    config.train.max_examples = 20_000_000
    return variant(config, rest, flags={"quick": quick})


def quick(config):
    config.train.epochs = 1
    config.model.embedding_dim = 8
