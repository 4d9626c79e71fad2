"""How large an exported model is, by its file of weights and its program."""

from __future__ import annotations

import math
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dtn_jax.export import model_folder
from dtn_jax.export.compiled import EMBEDDING, SCALE
from dtn_jax.export.write.program import Forward, inputs_of
from dtn_jax.export.write.weights import stored_shapes
from dtn_jax.models.flops import needed_flops


class Size(NamedTuple):
    """Of all members together.

    Attributes:
      dense: parameters beside the embeddings, codebooks included; no running statistics.
      embedding: numbers in the tables, without the scales of int8 rows.
      flops: of the matrix products and convolutions that score one row.
    """

    dense: int
    embedding: int
    flops: int


def size_of(folder: pathlib.Path, forward: Forward) -> Size:
    """The size of the model in a folder, whose weights are written, by its forward pass."""
    stored = stored_shapes(folder / model_folder.WEIGHTS)
    count = {name: math.prod(shape) for name, (shape, _) in stored.items()}
    dense = sum(
        count[name]
        for name in count.keys() - {EMBEDDING}
        if "model_state" not in name.split("/")[:2] and not name.endswith(SCALE)
    )
    weights = {n: jax.ShapeDtypeStruct(s, jnp.dtype(kind)) for n, (s, kind) in stored.items()}
    flops = needed_flops(forward.__call__, weights, inputs_of(forward.plan, 1))
    return Size(dense, count[EMBEDDING], flops)
