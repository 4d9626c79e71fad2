"""Protocols that compare embeddings of numbers, each tuned as every entry is."""

from __future__ import annotations

import dataclasses

from ..protocol import Protocol, entry


def of_numbers(usual: Protocol, note: str, kept: str = "standardise") -> Protocol:
    """The protocol of a data set, with an entry for each embedding of its numbers in two models.

    `shared_bottom` has MLP experts, DTN those of the usual protocol. The set keeps its numbers as
    `data.options=numbers=...` says, so it is another one than that of the usual protocol: numbers
    in buckets have a table of their own, of the same rows.
    """
    models = {"shared_bottom": entry("shared_bottom", "mlp"), "dtn": usual.entries["dtn"]}
    return dataclasses.replace(
        usual,
        common={**usual.common, "data.options": f"numbers={kept}"},
        entries={
            f"{model}_{embedding}": {**own, "model.numbers": embedding}
            for model, own in models.items()
            for embedding in ("scaled", "piecewise_linear", "periodic", "autodis")
        },
        ours="dtn_scaled",
        note=note,
        published=(),
    )
