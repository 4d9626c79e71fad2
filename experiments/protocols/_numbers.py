"""Protocols that compare embeddings of numbers, each tuned as every entry is."""

from __future__ import annotations

import dataclasses

from dtn_jax.papertables.protocol import Protocol


def of_numbers(usual: Protocol, note: str, kept: str = "standardise") -> Protocol:
    """The protocol of a data set, with an entry for each embedding of its numbers.

    The model is shared_bottom with MLP experts, whose runs are short. The set keeps its numbers as
    `data.options=numbers=...` says, so it is another one than that of the usual protocol: numbers
    in buckets have a table of their own, of the same rows.
    """
    return dataclasses.replace(
        usual,
        common={**usual.common, "data.options": f"numbers={kept}"},
        entries={
            f"shared_bottom_{embedding}": {
                **usual.entries["shared_bottom"],
                "model.numbers": embedding,
            }
            for embedding in ("scaled", "piecewise_linear", "periodic", "autodis")
        },
        ours="shared_bottom_scaled",
        again=(),
        note=note,
        published=(),
    )
