"""What the set that another one extends has fitted: its ids keep their rows, new ones follow.

A day's ids are known (the older set has them), new, or have fallen out (only the older set has
them). All known ids and those that have fallen out keep their rows; of the new ones those that are
frequent enough have the rows that follow.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from dtn_jax.datasets.logs.fit import encoders, vocabulary_file
from dtn_jax.datasets.logs.fit.encoders import Fitted
from dtn_jax.datasets.logs.fit.vocabulary_file import VALUES
from dtn_jax.datasets.logs.schema.spec import Spec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int32, Int64, UInt64

FACTS = ("ids", "values", "new_ids", "new_values", "added", "fallen_out")


@dataclasses.dataclass(frozen=True)
class Merged:
    """A range of a table's keys.

    Attributes:
      keys: uint64 `[K]`, ascending.
      counts: int64 `[K]`, how often this set's train shows each.
      known: int32 `[K]`, the row that the older set gives each; 0 of new ones.
      values: `[K]`, as texts.
      facts: of the day, under FACTS: its ids and their values, those of them that are new, how many
        of these have rows, and how many known ids it does not have.
    """

    keys: UInt64[np.ndarray, " K"]
    counts: Int64[np.ndarray, " K"]
    known: Int32[np.ndarray, " K"]
    values: pa.Array
    facts: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class KnownIds:
    """A table's ids in the older set; memory-mapped.

    Attributes:
      keys, rows: as of `VocabularyFile`.
      values: the texts of the values, in the order of the keys.
    """

    keys: UInt64[np.ndarray, " N"]
    rows: Int32[np.ndarray, " N"]
    values: pa.ChunkedArray

    def merged(
        self,
        part: slice,
        made: UInt64[np.ndarray, " M"],
        counts: Int64[np.ndarray, " M"],
        values: pa.Array,
        least: int,
    ) -> Merged:
        """These ids and a day's, those that have a row.

        Args:
          part: of the keys: those of the range that is merged.
          made: the day's keys in that range, ascending.
          counts, values: of each.
          least: of a new key's count, for a row.
        """
        old, rows = np.asarray(self.keys[part]), np.asarray(self.rows[part])
        if len(old):
            place = np.minimum(np.searchsorted(old, made), len(old) - 1)
            there = old[place] == made
        else:
            place, there = np.zeros(len(made), np.int64), np.zeros(len(made), bool)
        own = np.zeros(len(old), np.int64)
        own[place[there]] = counts[there]
        new = ~there & (counts >= least)
        every = np.concatenate([old, made[new]])
        order = np.argsort(every, kind="stable")
        texts = [self.values.slice(part.start, len(old)).combine_chunks(), values.filter(new)]
        facts = (
            *(len(made), int(counts.sum()), int((~there).sum()), int(counts[~there].sum())),
            *(int(new.sum()), int((own == 0).sum())),
        )
        return Merged(
            every[order],
            np.concatenate([own, counts[new]])[order],
            np.concatenate([rows, np.zeros(int(new.sum()), np.int32)])[order],
            pa.concat_arrays([_flat(text) for text in texts]).take(pa.array(order)),
            dict(zip(FACTS, facts, strict=True)),
        )


NOTHING = KnownIds(
    np.empty(0, np.uint64), np.empty(0, np.int32), pa.chunked_array([], VALUES.field("value").type)
)


def load(folder: pathlib.Path | None, table: str) -> KnownIds:
    """The ids of a table in a folder of vocabularies; NOTHING without one.

    Raises:
      UserError: a file is missing or damaged.
    """
    if folder is None:
        return NOTHING
    found = vocabulary_file.load(vocabulary_file.path_of(folder, table))
    path = vocabulary_file.path_of(folder, table, ".values")
    try:
        with pa.memory_map(str(path)) as source:
            values = pa.ipc.open_file(source).read_all()["value"]
        if len(values) != len(found.keys):
            raise ValueError(f"{len(values):,} values, expected {len(found.keys):,}")
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path}, of the set to extend, is missing or damaged ({error})") from None
    return KnownIds(found.keys, found.rows, values)


def fields(spec: Spec, folder: pathlib.Path, vocabulary: str) -> dict[str, Fitted]:
    """What the set in a folder has fitted, by field.

    Args:
      spec: the schema file of either set.
      folder: of the set.
      vocabulary: the name of the folder of its vocabularies.
    """
    facts = json.loads((folder / "encoders.json").read_text())
    return encoders.fitted({f.name: f for f in spec.fields}, facts, folder / vocabulary)


def _flat(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, whichever of the two Arrow gives."""
    return texts if isinstance(texts, pa.Array) else pa.concat_arrays(texts.chunks)
