"""Which configs and data sets may have weights of rows, and which must."""

from __future__ import annotations

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError


def check_sample_weights(config: ConfigDict | FrozenConfigDict, data: Prepared) -> None:
    """Raises UserError where rows have no weights to train or evaluate by, or must train by them.

    Args:
      config: with `loss.sample_weights` and `evaluate.sample_weights`.
      data: its set; with sampled negatives, whose weights make up for those that are left out.
    """
    name = data.schema.name
    for section in ("loss", "evaluate"):
        if config[section].sample_weights and not data.schema.weight:
            raise UserError(
                f"{section}.sample_weights=True, but data set {name!r} has no weight column"
            )
    if data.notes.get("sample_negatives") and not config.loss.sample_weights:
        raise UserError(
            f"data set {name!r} has sampled negatives, whose weights make up for the "
            "others: set loss.sample_weights=True, or probabilities will be too high"
        )
