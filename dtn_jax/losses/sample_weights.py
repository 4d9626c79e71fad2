"""Where the weights of rows count: as the config says, if the data set has any."""

from __future__ import annotations

from typing import TypeVar

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError

SWITCHES = ("loss.sample_weights", "evaluate.sample_weights")
Config = TypeVar("Config", ConfigDict, FrozenConfigDict)


def with_sample_weights(config: Config, data: Prepared) -> Config:
    """The config; of SWITCHES those are off whose weights the data set lacks.

    Raises:
      UserError: train's negatives were sampled, and the loss is not to count their weights.
    """
    schema = data.schema
    if data.notes.get("sample_negatives") and not config.loss.sample_weights:
        raise UserError(
            f"data set {schema.name!r} has sampled negatives, whose weights make up for the "
            "others: set loss.sample_weights=True, or probabilities will be too high"
        )
    loss = config.loss.sample_weights and bool(schema.weight or schema.loss_weight)
    metrics = config.evaluate.sample_weights and bool(schema.weight)
    if (loss, metrics) == (config.loss.sample_weights, config.evaluate.sample_weights):
        return config
    changed = ConfigDict(config.to_dict())
    changed.loss.sample_weights, changed.evaluate.sample_weights = loss, metrics
    return type(config)(changed.lock())
