"""What the ids of a prepared log's fields stand for, in words, for as many ids as are shown.

It stands alone: people read this, while scoring reads vocabularies without schema files.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dtn_jax.data import encode, vocabulary
from dtn_jax.data.encode import Fitted
from dtn_jax.data.quantiles import QuantileBuckets
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import FieldSpec
from dtn_jax.data.stages.work import SCHEMA_FILE


@dataclasses.dataclass(frozen=True)
class ShownValues:
    """A field of a log.

    Attributes:
      spec: the field, as the schema file has it.
      values: of a vocabulary, the file of its values; its rows lie beside it.
      buckets: of a number's buckets, in the numbers that were put there.
    """

    spec: FieldSpec
    values: pathlib.Path | None = None
    buckets: QuantileBuckets | None = None

    def names(self, ids: Sequence[int]) -> dict[int, str]:
        """{id: what it stands for}; the row's number where several values may share it."""
        if self.values is None:
            return {i: f"row {i}" for i in ids if i > 0}
        rows = vocabulary.load(vocabulary.path_of(self.values.parent, self.spec.table)).rows
        places = np.flatnonzero(np.isin(rows, np.asarray(ids)))
        texts = vocabulary.read(self.values)["value"].take(pa.array(places))
        return dict(zip(rows[places].tolist(), texts.to_pylist(), strict=True))


def fields(folder: pathlib.Path) -> dict[str, ShownValues]:
    """{field: what its ids stand for} of the prepared log in a folder."""
    specs = {spec.name: spec for spec in schema_file.load(folder / SCHEMA_FILE).fields}
    return {name: _field(fitted, folder) for name, fitted in encode.load(specs, folder).items()}


def _field(fitted: Fitted, folder: pathlib.Path) -> ShownValues:
    spec, buckets = fitted.spec, fitted.buckets
    if buckets and spec.log:  # back to what the column holds
        kept = (buckets.dominating, buckets.edges)
        kept = (tuple(float(np.sign(n) * np.expm1(abs(n))) for n in some) for some in kept)
        buckets = QuantileBuckets(spec.buckets, *kept)
    if spec.encoder == "vocabulary" and not spec.cross:  # pairs are kept by their keys alone
        place = vocabulary.path_of(folder / vocabulary.FOLDER, spec.table, ".values")
        return ShownValues(spec, place)
    return ShownValues(spec, buckets=buckets)
