"""The option of a data set that says how its numeric fields are kept."""

from __future__ import annotations

from dtn_jax.datasets.preparation.numbers import BINS
from dtn_jax.options import Option

NUMBERS = Option(
    "buckets",
    "how numeric fields are kept: in quantile buckets, or standardised for model.numbers; log "
    "standardises sign(x) log(1 + |x|)",
    choices=("buckets", "standardise", "log"),
)


def in_schema(text: str, kept: str, buckets: int = 32) -> str:
    """A schema file's text with this option on each of its numeric fields, `{kind: numeric}`."""
    options = f"buckets: {buckets}"
    if kept != "buckets":
        options = f"encoder: standardise, bins: {BINS}" + ", log: true" * (kept == "log")
    return text.replace("kind: numeric", f"kind: numeric, {options}")


def variant(kept: str) -> str:
    """What the name of a set says where its numbers are in no buckets; else ''."""
    return {"standardise": "standardised", "log": "logarithms"}.get(kept, "")
