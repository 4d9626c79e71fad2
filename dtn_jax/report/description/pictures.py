"""The pictures of a description, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from dtn_jax.data.describe.describe import Description
from dtn_jax.report.description import field_pictures, label_pictures

PICTURES: Mapping[str, Callable[[Description], Figure | None]] = {
    "rates": label_pictures.rates,
    "days": label_pictures.days,
    "pairs": label_pictures.pairs,
    "alone": field_pictures.alone,
    "drift": field_pictures.drifts,
    "unknown": field_pictures.unknown,
}
ALT = {
    "rates": "positive rates by label and split",
    "days": "rows and rates by day",
    "pairs": "how labels go together",
    "alone": "AUC of single fields",
    "drift": "drift from train by field",
    "unknown": "unknown values by field",
}
