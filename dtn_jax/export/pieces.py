"""A chunk of a raw file as scoring takes it: what is kept of its rows, and what the model reads."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import Chunk, Types
from dtn_jax.export.encoded import Bad, Encoded
from dtn_jax.export.file_columns import cast
from dtn_jax.export.log_labels import LogLabels
from dtn_jax.export.model import Model
from dtn_jax.export.tally import counted


@dataclasses.dataclass
class Piece:
    """A chunk of a unit: what is kept of its rows, and the rows as the model takes them.

    Attributes:
      unit: its number; `last` where no chunk of it follows.
      kept: the wanted columns of all rows; null where a value could not be read.
      labels: their labels; no columns where none are written.
      encoded: the same rows.
      values: of each field, how many and how many unknown; see `tally.counted`.
    """

    unit: int
    last: bool
    kept: pl.DataFrame
    labels: pl.DataFrame
    encoded: Encoded
    values: dict[str, tuple[int, int]]

    def scored(self, scores: Mapping[str, np.ndarray]) -> pl.DataFrame:
        """The rows of the output; a bad row has no scores and no labels."""
        good = pl.lit(pl.Series(self.encoded.good))
        labels = self.labels.select(pl.when(good).then(pl.all()))
        columns = [pl.Series(name, v).fill_nan(None) for name, v in scores.items()]
        return pl.DataFrame([*self.kept.get_columns(), *columns, *labels.get_columns()])


def piece_of(
    model: Model,
    wanted: Types,
    labels: LogLabels,
    unit: int,
    file: RawFile,
    chunk: Chunk,
    last: bool,
) -> Piece:
    """A chunk of a file, encoded.

    Args:
      model: whose encoders are used.
      wanted: {column to keep: its type in the output}.
      labels: those to write.
      unit, last: as `Piece` has them.

    Raises:
      UserError: a value does not go into its column of the output.
    """
    frame, numbers = every_row(chunk)
    bad = Bad(numbers, file.address)
    bad.broken(chunk.broken)
    nothing = pl.Series([None] * len(numbers), dtype=pl.Null)

    def column(name: str) -> pl.Series:
        return (frame[name] if name in frame.columns else nothing).alias(name)

    read = dict.fromkeys((*model.columns, *labels.columns))
    raw = model.encoding.typed(pl.DataFrame(map(column, read)), bad)
    kept = {name: cast(column(name), dtype, file.address) for name, dtype in wanted.items()}
    own = labels.read(raw, bad)
    encoded = model.encoding.encode_frame(raw, bad)
    values = counted(model.schema.fields, encoded)
    return Piece(unit, last, pl.DataFrame(kept), own, encoded, values)


def every_row(chunk: Chunk) -> tuple[pl.DataFrame, np.ndarray]:
    """All rows of a chunk in order, null where a value could not be read; and their numbers."""
    if not chunk.broken:
        return chunk.frame, chunk.numbers
    unread = np.setdiff1d([reject.row for reject in chunk.broken], chunk.numbers)
    numbers = np.concatenate([chunk.numbers, unread])
    order = np.argsort(numbers)
    places = pl.Series(order).set(pl.Series(order >= len(chunk.numbers)), None)
    return chunk.frame.select(pl.all().gather(places)), numbers[order]


def encoded_rows(pieces: Iterator[Piece], waiting: collections.deque) -> Iterator[Encoded]:
    """What the model takes of the pieces, which wait meanwhile."""
    for piece in pieces:
        waiting.append(piece)
        yield piece.encoded
