"""Embeddings of standardised numbers, one a file: from a value x to a vector `[D]`.

    e = r + f(x) of a known number,  e = m of a missing one

r and m are rows 1 and 0 of the field's table, which its one id looks up as every id does; f is the
module of the embedding, with parameters of its own in each field and view. `scaled`, the default,
has none: e = x r (tables/pooling.py).

An embedding is a linen module `f(x [B]) -> [B, D]` with the attributes `width` (D), `scale` (the
standard deviation of the tables' initial rows, of which its output has about the size at first) and
`dtype` (of its products; parameters have at least float32). With an attribute `edges` it is given
the field's bins. Its options are fields declared by `options.option`; they stand under
`model.<embedding>`. A new one is a file here, a line in NUMBERS and a word in schema.EMBEDDINGS.
"""

from __future__ import annotations

from flax import linen as nn

from dtn_jax.models.numbers.autodis import AutoDis
from dtn_jax.models.numbers.periodic import Periodic
from dtn_jax.models.numbers.piecewise_linear import PiecewiseLinear

NUMBERS: dict[str, type[nn.Module]] = {
    "piecewise_linear": PiecewiseLinear,
    "periodic": Periodic,
    "autodis": AutoDis,
}
