"""The option of a data set that says how its numeric fields are kept."""

from __future__ import annotations

from dtn_jax.datasets.preparation.numbers import Binned, QuantileBuckets
from dtn_jax.options import Option

NUMBERS = Option(
    "buckets",
    "how numeric fields are kept: in quantile buckets, or standardised for model.numbers",
    choices=("buckets", "standardise"),
)


def numeric_encoder(kept: str, buckets: int = 32) -> QuantileBuckets | Binned:
    """The encoder of a numeric field; `kept` is the option's value."""
    return QuantileBuckets(buckets) if kept == "buckets" else Binned()
