"""A loaded model: raw rows in, calibrated probabilities out. No training code is needed.

model = dtn_jax.export.load("models/shop")
model.score([{"user": 7, "item": 31, "price": 9.5}])  # a polars table, a column an output

Its program is read once, compiled for a few batch sizes, and called with padded batches. The arrays
of weights.safetensors are views of the mapped file.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import polars as pl
from jax import export
from jax import numpy as jnp
from safetensors import safe_open

from dtn_jax.errors import UserError
from dtn_jax.export import calibration, encoding, model_folder, ranking
from dtn_jax.export.calibration import meanings, outputs, scores
from dtn_jax.export.encoding import NOT_FINITE, Encoded, Encoding
from dtn_jax.export.model_folder import ENCODERS, PROGRAM, WEIGHTS, Facts, reading
from dtn_jax.export.ranking import RANK, Ranking
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float32, Int32

EMBEDDING, SCALE = "tables/embedding", ".scale"  # SCALE ends the name of a table's scales
CALLS = re.compile(r"custom_call @([\w.$-]+)")
HARMLESS = {"shape_assertion", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}

DTYPES = {"BF16": "bfloat16", "BOOL": "bool", "U8": "uint8", "U32": "uint32"}  # others: I8, F32, …
KINDS = {"F": "float", "I": "int"}

LEAST = 8  # rows of a batch
LARGEST = {"cpu": 1024, "gpu": 8192, "tpu": 8192}  # beyond, a CPU's caches don't hold a batch
IN_FLIGHT = 4  # batches that wait on the device at most


def padded(count: int, least: int = 1) -> int:
    """The next power of two."""
    return max(least, 1 << (count - 1).bit_length()) if count else least


def read_program(folder: pathlib.Path, manifest: Mapping) -> export.Exported:
    """The program of a model.

    Raises:
      UserError: it is damaged, runs code of its host, or is too old for this version of JAX.
    """
    path, facts = folder / PROGRAM, manifest.get("program", {})
    try:
        exported = export.deserialize(bytearray(path.read_bytes()))
        others = sorted(set(CALLS.findall(exported.mlir_module())) - HARMLESS)
    except Exception as error:  # of several libraries, each with its own classes
        raise UserError(
            f"{path} can't be read ({first_line(error)}). It was made {facts.get('made')} by JAX "
            f"{facts.get('jax')}; this is JAX {jax.__version__}, which reads programs of the last "
            "180 days. Make it again from the folder alone: dtn-jax export --again MODEL"
        ) from None
    if others:
        raise UserError(f"{path} calls functions of the machine ({others[0]}), so it is not run")
    return exported


def first_line(error: Exception) -> str:
    """Of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def read_weights(path: pathlib.Path, mode: str = "r") -> dict[str, np.ndarray]:
    """{name: array}, in memory only as far as they are looked at; by the mode `r+` they can be
    written."""
    weights = {}
    with safe_open(path, "numpy") as file:  # which checks sizes and offsets
        raw = np.memmap(path, np.uint8, mode)
        stop = 8 + int.from_bytes(raw[:8], "little")
        for name in file.offset_keys():  # in the order of the file, without gaps
            part = file.get_slice(name)
            kind, shape = part.get_dtype(), part.get_shape()
            dtype = jnp.dtype(DTYPES.get(kind) or KINDS[kind[0]] + kind[1:])
            start, stop = stop, stop + math.prod(shape) * dtype.itemsize
            weights[name] = np.asarray(raw[start:stop]).view(dtype).reshape(shape)
    return weights


@dataclasses.dataclass(frozen=True)
class Batches:
    """How rows reach the program.

    Attributes:
      run: the program, `(weights, inputs) -> logits`, which is compiled once for each batch size.
      tasks: T, of the logits.
      placed: its weights, on the device, by name.
      offsets: per view and slot the first row of its table, `[views, L]`.
      rows: V, of `tables/embedding`.
      least, largest: rows of a batch that is compiled.
    """

    run: Callable[[Mapping, Mapping], jax.Array]
    tasks: int
    placed: Mapping[str, jax.Array]
    offsets: Int32[np.ndarray, "views L"]
    rows: int
    least: int = LEAST
    largest: int = LARGEST["cpu"]

    @classmethod
    def open(
        cls, folder: pathlib.Path, facts: Facts, manifest: Mapping, largest: int = 0
    ) -> Batches:
        """Those of a model's program and weights; see `model.load`.

        Raises:
          UserError: a file is damaged, or they don't go together.
        """
        largest = largest or LARGEST.get(jax.default_backend(), LARGEST["gpu"])
        program = read_program(folder, manifest)
        with reading(folder / WEIGHTS) as path:
            weights = read_weights(path)
            (needed, _), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
            placed = jax.device_put({name: weights[name] for name in needed})
        offsets, run = np.asarray(facts.offsets, np.int32), jax.jit(program.call)
        tasks = program.out_avals[0].shape[1]
        return cls(run, tasks, placed, offsets, facts.rows, largest=largest)

    def size(self, rows: int) -> int:
        """The rows of the batch in which so many are sent."""
        return min(padded(rows, self.least), self.largest)

    def logits(self, pieces: Iterator[Encoded]) -> Iterator[Float32[np.ndarray, "B T"]]:
        """Of each piece; the device works on the next one while the caller has one.

        A row whose logits are not finite is bad from here on; bad rows have NaN.
        """
        waiting: collections.deque = collections.deque()
        for encoded in pieces:
            waiting.append((encoded, self._start(encoded)))
            if len(waiting) > 1:
                yield self._finish(*waiting.popleft())
        while waiting:
            yield self._finish(*waiting.popleft())

    def _start(self, encoded: Encoded) -> list[tuple[slice, jax.Array]]:
        """Sends a piece, of which a few batches wait at most."""
        started = []
        for start in range(0, len(encoded), self.largest):
            at = slice(start, min(start + self.largest, len(encoded)))
            if len(started) >= IN_FLIGHT:
                started[-IN_FLIGHT][1].block_until_ready()
            beyond = ((0, self.size(at.stop - start) - (at.stop - start)), (0, 0))
            arrays = (encoded.ids[at], encoded.weights[at], encoded.numeric[at])
            if beyond[0][1]:
                fills = (-1, 0, 0)
                arrays = [np.pad(a, beyond, constant_values=n) for a, n in zip(arrays, fills)]
            started.append((at, self.call(*arrays)))
        return started

    def _finish(
        self, encoded: Encoded, started: list[tuple[slice, jax.Array]]
    ) -> Float32[np.ndarray, "B T"]:
        every = np.empty((len(encoded), self.tasks), np.float32)
        for at, logits in started:
            every[at] = np.asarray(logits)[: at.stop - at.start]
        encoded.rejected(np.isfinite(every).all(axis=1), NOT_FINITE)
        every[~encoded.good] = np.nan
        return every

    def inputs(self, ids: np.ndarray, weights: np.ndarray, numeric: np.ndarray) -> dict:
        """The program's inputs, of arrays as `Encoded` has them."""
        rows = np.where((ids >= 0)[:, None], ids[:, None] + self.offsets, np.int32(self.rows))
        return {"ids": ids, "rows": rows, "weights": weights, "numeric": numeric}

    def call(self, ids: np.ndarray, weights: np.ndarray, numeric: np.ndarray) -> jax.Array:
        """The logits of one batch, `[B, T]`.

        Raises:
          UserError: the program can't be compiled, or the device has no room for the batch.
        """
        try:
            return self.run(self.placed, self.inputs(ids, weights, numeric))
        except Exception as error:  # of several libraries, each with its own classes
            raise UserError(f"{PROGRAM} can't be run: {first_line(error)}") from error


@dataclasses.dataclass(frozen=True, repr=False)
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
        two, or to `largest` rows; what pads changes nothing.
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
            first = encoded.bad[0]
            column = f", column {first.column!r}" if first.column else ""
            why = f"{first.reason}: {first.value}" if first.value else first.reason
            raise UserError(f"row {first.row}{column}: {why}")
        return pl.DataFrame(self.scores(logits))

    def scores(self, logits: Float32[np.ndarray, "B T"]) -> dict[str, np.ndarray]:
        """{output: float64 `[B]`} of `logits`, calibrated; NaN stays NaN."""
        columns = scores(logits, self.schema, self.facts.tasks, self.calibrations)
        return columns | ({RANK: self.ranking.score(columns)} if self.ranking else {})

    def compile(self) -> tuple[int, ...]:
        """Compiles the program for batches of every size, which it returns."""
        sizes = {self.batches.size(1 << n) for n in range(self.batches.largest.bit_length() + 1)}
        schema = self.schema
        for size in sizes:
            ids = np.zeros((size, schema.slots), np.int32)
            weights = np.zeros((size, schema.weighted_slots), np.float32)
            numeric = np.zeros((size, schema.numbers), np.float32)
            self.batches.call(ids, weights, numeric).block_until_ready()
        return tuple(sorted(sizes))


def load(folder: str | pathlib.Path, largest: int = 0) -> Model:
    """Opens an exported model.

    Args:
      folder: of the model.
      largest: rows of a batch at most; 0 is what suits the device.

    Raises:
      UserError: the folder holds no model, a file is missing or damaged, or the program is of an
        earlier JAX than this one reads.
    """
    folder = pathlib.Path(folder).expanduser()
    manifest = model_folder.read_manifest(folder)
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    batches = Batches.open(folder, facts, manifest, largest)
    with model_folder.reading(folder / ENCODERS) as place:
        spec = encoding.read_spec((place / encoding.SPEC).read_text())
        fields = encoding.read(place, spec, schema)
    calibrations = calibration.read(folder, schema)
    return Model(folder, manifest, facts, schema, fields, batches, calibrations)
