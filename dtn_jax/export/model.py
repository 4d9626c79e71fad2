"""A loaded model: raw rows in, calibrated probabilities out. No training code is needed.

model = dtn_jax.export.load("models/shop")
model.score([{"user": 7, "item": 31, "price": 9.5}])  # a polars table, a column an output
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data.clean import Bad
from dtn_jax.errors import UserError
from dtn_jax.export import calibration, encoding, model_folder, ranking, spec_json
from dtn_jax.export.calibration import meanings, outputs, scores
from dtn_jax.export.compiled import Batches
from dtn_jax.export.encoding import Encoded, Encoding
from dtn_jax.export.model_folder import ENCODERS, Facts
from dtn_jax.export.ranking import RANK, Ranking
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float32


@dataclasses.dataclass(frozen=True)
class Model:
    """An exported model.

    Attributes:
      folder: where it lies.
      manifest: versions, dates and hashes.
      facts: how it was made.
      schema: its fields and tasks.
      encoding: raw rows to arrays.
      batches: arrays to logits.
      calibrations: {task: its calibration}.
    """

    folder: pathlib.Path
    manifest: Mapping[str, Any]
    facts: Facts
    schema: Schema
    encoding: Encoding
    batches: Batches
    calibrations: Mapping[str, Mapping]

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, outputs: {', '.join(self.outputs)})"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns of `score`: `click@all`, `order@click`, `order@all`; and `rank`, if any."""
        return (*outputs(self.schema, self.facts.tasks), *[RANK] * bool(self.ranking))

    @functools.cached_property
    def ranking(self) -> Ranking | None:
        """The ranking score of the tasks, where the model was exported with one."""
        names = ranking.names_of(outputs(self.schema, self.facts.tasks))
        return ranking.parse(self.facts.rank, names, RANK) if self.facts.rank else None

    @property
    def meanings(self) -> dict[str, str]:
        """{output: what it is, in words}: a probability, a score that is none, or a prediction."""
        words = meanings(self.schema, self.facts.tasks, self.facts.improper, self.calibrations)
        return words | ({RANK: f"ranking score, {self.ranking.text}"} if self.ranking else {})

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that are read; rows may lack those of `optional`."""
        return self.encoding.columns

    @property
    def optional(self) -> tuple[str, ...]:
        """The raw columns that rows to score may lack."""
        return self.encoding.optional

    def encode(self, rows: Any) -> Encoded:
        """The program's arrays of raw rows, and which rows are bad and why.

        Args:
          rows: a list of dicts, or a table of polars, pandas or Arrow; other columns than the
            model's are not looked at.

        Raises:
          UserError: a column is missing, or the rows are in no such form.
        """
        return self.encoding.encode(rows)

    def logits(self, encoded: Encoded) -> Float32[np.ndarray, "B T"]:
        """The logits of all tasks of the schema, each in the space of its loss; NaN of bad rows.

        A row whose logits are not finite is bad from here on. Batches are padded to a power of
        two, of `largest` rows at most; what pads changes nothing.
        """
        return next(self.batches.logits(iter([encoded])))

    def score(self, rows: Any) -> pl.DataFrame:
        """Calibrated probabilities of raw rows; of a regression what it predicts, in its unit.

        `meanings` says of which outputs a score is no probability.

        Args:
          rows: as of `encode`.

        Returns:
          A row each, in their order, and a float64 column for each of `outputs`.

        Raises:
          UserError: as `encode`; or a row is bad: its number, counted from 1, its column and value.
        """
        encoded = self.encode(rows)
        logits = self.logits(encoded)
        if not encoded.good.all():
            first, count = encoded.bad[0], int((~encoded.good).sum())
            more = f" ({count:,} of {len(encoded):,} rows are bad)" if count > 1 else ""
            column = f", column {first.column!r}" if first.column else ""
            why = f"{first.reason}: {first.value}" if first.value else first.reason
            if first.value and first.reason.startswith("expected "):
                why = f"got {first.value}, {first.reason}"
            raise UserError(f"row {first.row}{column}: {why}{more}")
        return pl.DataFrame(self.scores(logits))

    def scores(self, logits: Float32[np.ndarray, "B T"]) -> dict[str, np.ndarray]:
        """{output: float64 `[B]`} of `logits`, calibrated; NaN stays NaN."""
        columns = scores(logits, self.schema, self.facts.tasks, self.calibrations)
        return columns | ({RANK: self.ranking.score(columns)} if self.ranking else {})

    def compile(self) -> tuple[int, ...]:
        """Compiles the program for batches of every size, which it returns."""
        sizes = {self.batches.size(1 << n) for n in range(self.batches.largest.bit_length())}
        for size in sorted(sizes):
            self.logits(self.nothing(size))
        return tuple(sorted(sizes))

    def nothing(self, rows: int) -> Encoded:
        """Rows that hold nothing."""
        schema = self.schema
        return Encoded(
            np.zeros((rows, schema.slots), np.int32),
            np.zeros((rows, schema.weighted_slots), np.float32),
            np.zeros((rows, schema.numbers), np.float32),
            Bad(np.arange(rows)),
        )


def load(
    folder: str | pathlib.Path,
    verify: bool = True,
    tables: str = "memory",
    largest: int = 0,
) -> Model:
    """Opens an exported model.

    Args:
      folder: of the model.
      verify: compare the SHA-256 of every file with the manifest's; else their sizes alone.
      tables: `memory` puts the tables on the device; `disk` leaves them in the mapped file, of
        which each batch reads its rows.
      largest: rows of a batch at most, a power of two; 0 is what suits the device.

    Raises:
      UserError: the folder holds no model, a file is missing or damaged, or the program is of an
        earlier JAX than this one reads.
    """
    folder = pathlib.Path(folder).expanduser()
    manifest = model_folder.read_manifest(folder, verify)
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    batches = Batches.open(folder, facts, manifest, tables, largest)
    if batches.program.tasks != len(schema.tasks):
        raise UserError(f"{folder} is damaged: its program has {batches.program.tasks} tasks")
    with model_folder.reading(folder / ENCODERS) as place:
        spec = spec_json.from_json((place / encoding.SPEC).read_text())
        fields = encoding.read(place, spec, schema, facts.fixed, facts.optional)
    calibrations = calibration.read(folder, schema)
    model = Model(folder, manifest, facts, schema, fields, batches, calibrations)
    with model_folder.reading(folder / model_folder.MODEL):
        _ = model.ranking
    return model
