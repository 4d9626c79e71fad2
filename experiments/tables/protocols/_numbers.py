"""Protocols that compare embeddings of numbers, each tuned as every entry is."""

from __future__ import annotations

import dataclasses

from ..protocol import Protocol, entry

KEPT = {"data.options": "numbers=standardise"}


def of_numbers(usual: Protocol, note: str) -> Protocol:
    """The protocol of a data set, with an entry for each embedding of its numbers in two models.

    `shared_bottom` has MLP experts, DTN those of the usual protocol.
    """
    models = {"shared_bottom": entry("shared_bottom", "mlp"), "dtn": usual.entries["dtn"]}
    return dataclasses.replace(
        usual,
        common={**usual.common, **KEPT},
        entries={
            f"{model}_{embedding}": {**own, "model.numbers": embedding}
            for model, own in models.items()
            for embedding in ("scaled", "piecewise_linear", "periodic", "autodis")
        },
        ours="dtn_scaled",
        note=note,
        published=(),
    )
