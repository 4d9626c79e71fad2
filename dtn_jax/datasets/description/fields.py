"""What each field holds in each split: unknown and padded values, how they are spread over ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.datasets.description.sample import Sample, slots_of
from dtn_jax.schema import Field
from dtn_jax.shapes import Float, Int, Int32

DENSE = 8  # a table is counted row by row if it has at most so many rows for each value


@dataclasses.dataclass(frozen=True)
class FieldFacts:
    """A field, mostly in train.

    Attributes:
      field: of the schema.
      unknown: {split: share of its values that are the unknown id: missing, or not in train; of a
        hashed field missing alone}.
      padded: {split: share of its slots that hold no value}.
      covered: the share of its table's rows, the unknown one aside, that train shows.
      median: how often train shows a row of the table that it shows at all; 0 where there is none.
      largest: the share of train's values that the most frequent one has.
      effective: how many equally frequent values would have the entropy of train's: exp(H).
      hashed: values that train has not seen have rows of its table, too.
    """

    field: Field
    unknown: dict[str, float]
    padded: dict[str, float]
    covered: float
    median: float
    largest: float
    effective: float
    hashed: bool = False


def counted(
    ids: Int32[np.ndarray, ...], rows: int, weights: np.ndarray | None = None
) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """The ids that occur, rising, and how often (or the sum of their weights); padding is not
    counted.

    Args:
      ids: of any shape, -1 is padding.
      rows: of the table.
      weights: of the ids' shape.
    """
    kept = ids >= 0
    values = ids[kept]
    weights = None if weights is None else weights[kept].astype(np.float64)
    if rows <= DENSE * max(len(values), 1):
        counts = np.bincount(values, weights, minlength=rows)
        found = np.flatnonzero(
            np.bincount(values, minlength=rows) if weights is not None else counts
        )
        return found, counts[found].astype(np.float64)
    found, place = np.unique(values, return_inverse=True)
    return found, np.bincount(place, weights, minlength=len(found)).astype(np.float64)


def facts(
    fields: tuple[Field, ...], samples: Sequence[Sample], functions: Mapping[str, int] | None = None
) -> list[FieldFacts]:
    """Of each field.

    Args:
      fields: of the schema.
      samples: of the splits, train's first.
      functions: of hashed fields, how many slots a known value takes.
    """
    each = functions or {}
    return [
        _facts(f, samples, place, each.get(f.name, 0)) for f, place in zip(fields, _places(fields))
    ]


def _places(fields: tuple[Field, ...]) -> list[slice]:
    return list(slots_of(fields).values())


def _facts(field: Field, samples: Sequence[Sample], place: slice, functions: int) -> FieldFacts:
    unknown, padded = {}, {}
    for sample in samples:
        ids = sample.ids[:, place]
        missing, known = int((ids == 0).sum()), int((ids > 0).sum())
        values = missing + known // max(functions, 1)
        unknown[sample.split] = missing / max(values, 1)
        padded[sample.split] = 1 - (missing + known) / max(ids.size, 1)
    ids, counts = counted(samples[0].ids[:, place], field.rows)
    known = counts[ids > 0]
    share = counts / max(counts.sum(), 1)
    return FieldFacts(
        field,
        unknown,
        padded,
        covered=len(known) / max(field.rows - 1, 1),
        median=float(np.median(known)) if len(known) else 0.0,
        largest=float(share.max(initial=0)),
        effective=float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0,
        hashed=functions > 0,
    )
