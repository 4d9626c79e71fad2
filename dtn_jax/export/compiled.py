"""The program of a model and its weights: read once, compiled for a few batch sizes, called with
padded batches.

StableHLO is read for six months by later versions of JAX, so a model says how old its program is.
The arrays of weights.safetensors are views of the mapped file. With tables on disk, a batch's
distinct rows stand in for the table: they are read from the file, and their number is padded to a
power of two, so that few programs are compiled.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import math
import pathlib
import re
import warnings
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jax import export
from jax import numpy as jnp
from safetensors import safe_open

from dtn_jax.errors import UserError, choose
from dtn_jax.export.encoding import NOT_FINITE, Encoded
from dtn_jax.export.model_folder import MODEL, PROGRAM, WEIGHTS, Facts, reading
from dtn_jax.shapes import Float32, Int32

EMBEDDING, SCALE = "tables/embedding", ".scale"  # SCALE ends the name of a table's scales
INPUTS = {"ids", "rows", "weights", "numeric"}
CALLS = re.compile(r"custom_call @([\w.$-]+)")
HARMLESS = {"shape_assertion", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}
GUARANTEED = 180  # days in which a later JAX reads a program
EARLY = 30  # days before that, in which loading warns
ANEW = "Make it again from the folder alone: dtn-jax export --again MODEL"

PLACES = ("memory", "disk")  # of the tables
DTYPES = {"BF16": "bfloat16", "BOOL": "bool", "U8": "uint8", "U32": "uint32"}  # others: I8, F32, …
KINDS = {"F": "float", "I": "int"}

LEAST = 8  # rows of a batch
LARGEST = {"cpu": 1024, "gpu": 8192, "tpu": 8192}  # beyond, a CPU's caches don't hold a batch
IN_FLIGHT = 4  # batches that wait on the device at most


def padded(count: int, least: int = 1) -> int:
    """The next power of two."""
    return max(least, 1 << (count - 1).bit_length()) if count else least


def check_largest(rows: int, option: str) -> int:
    """The rows of the largest batch; 0 is what suits the device.

    Raises:
      UserError: it is no power of two.
    """
    rows = rows or LARGEST.get(jax.default_backend(), LARGEST["gpu"])
    if rows != padded(rows, LEAST):
        raise UserError(f"{option}={rows}, expected a power of two, {LEAST} or more")
    return rows


class Program:
    """A forward pass for any number of rows.

    Attributes:
      weights, inputs: {name: its shape, some of whose numbers are symbols, and dtype}.
      tasks: T, of the logits.
    """

    def __init__(self, exported: export.Exported):
        (self.weights, self.inputs), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
        (out,) = exported.out_avals
        self.tasks = out.shape[1]
        self._call = jax.jit(exported.call)  # which compiles once for each batch size

    def call(self, weights: Mapping, inputs: Mapping) -> jax.Array:
        """The logits of a batch.

        Raises:
          UserError: the program can't be compiled, or the device has no room for the batch.
        """
        try:
            return self._call(weights, inputs)
        except Exception as error:  # of several libraries, each with its own classes
            raise UserError(f"{PROGRAM} can't be run: {first_line(error)}") from error


def read_program(folder: pathlib.Path, manifest: Mapping) -> Program:
    """The program of a model; warns in time that later versions of JAX will not read it.

    Raises:
      UserError: it is damaged, runs code of its host, or is too old for this version of JAX.
    """
    path, (age, days) = folder / PROGRAM, _age(manifest)
    try:
        exported = export.deserialize(bytearray(path.read_bytes()))
        others = sorted(set(CALLS.findall(exported.mlir_module())) - HARMLESS)
        program = Program(exported)
        if set(program.inputs) != INPUTS or program.tasks < 1:
            raise ValueError(f"its inputs are {', '.join(map(str, program.inputs))}")
    except Exception as error:  # of several libraries, each with its own classes
        raise UserError(f"{path} can't be read ({first_line(error)}). {age}. {ANEW}") from None
    if others:
        raise UserError(f"{path} calls functions of the machine ({others[0]}), so it is not run")
    if days > GUARANTEED - EARLY:
        text = f"{age}. JAX reads programs for {GUARANTEED} days, and may refuse older ones. {ANEW}"
        warnings.warn(text, stacklevel=4)
    return program


def _age(manifest: Mapping) -> tuple[str, float]:
    """When, and with which JAX, the program was made, and which JAX is here; and days since then,
    0 where the manifest does not say."""
    facts = manifest.get("program", {})
    by, when, days = facts.get("jax", "of an unknown version"), "at an unknown time", 0.0
    if "made" in facts:
        then = datetime.datetime.fromisoformat(facts["made"])
        days = (datetime.datetime.now(datetime.UTC) - then).total_seconds() / 86400
        when = f"{days:.0f} days ago"
    return f"The program was made {when} by JAX {by}; this is JAX {jax.__version__}", days


def first_line(error: Exception) -> str:
    """Of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """{name: array}, in memory only as far as they are looked at."""
    weights = {}
    with safe_open(path, "numpy") as file:  # which checks sizes and offsets
        raw = np.memmap(path, np.uint8, "r")
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
      program: arrays to logits.
      placed: its weights that are on the device, by name.
      stored: its weights that are on disk: tables, of which each batch reads its rows.
      offsets: per view and slot the first row of its table, `[views, L]`.
      rows: V, of `tables/embedding`.
      least, largest: rows of a batch that is compiled, powers of two.
    """

    program: Program
    placed: Mapping[str, jax.Array]
    stored: Mapping[str, np.ndarray]
    offsets: Int32[np.ndarray, "views L"]
    rows: int
    least: int = LEAST
    largest: int = LARGEST["cpu"]

    @classmethod
    def open(
        cls,
        folder: pathlib.Path,
        facts: Facts,
        manifest: Mapping,
        tables: str = "disk",
        largest: int = 0,
    ) -> Batches:
        """Those of a model's program and weights; see `model.load`.

        Raises:
          UserError: a file is damaged, or they don't go together.
        """
        choose("place of the tables", tables, PLACES)
        largest, program = check_largest(largest, "largest"), read_program(folder, manifest)
        with reading(folder / WEIGHTS) as path:
            weights = read_weights(path)
            weights = {name: weights[name] for name in program.weights}
            names = (EMBEDDING, f"{EMBEDDING}{SCALE}") if tables == "disk" else ()
            stored = {name: weights.pop(name) for name in names if name in weights}
            placed = jax.device_put(weights)
        with reading(folder / MODEL):
            offsets, shape = np.asarray(facts.offsets, np.int32), program.inputs["rows"].shape[1:]
            if offsets.shape != shape:
                raise ValueError(f"the program has {shape} views and slots")
            return cls(program, placed, stored, offsets, int(facts.rows), largest=largest)

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
        every = np.empty((len(encoded), self.program.tasks), np.float32)
        for at, logits in started:
            every[at] = np.asarray(logits)[: at.stop - at.start]
        encoded.rejected(np.isfinite(every).all(axis=1), NOT_FINITE)
        every[~encoded.good] = np.nan
        return every

    def call(self, ids: np.ndarray, weights: np.ndarray, numeric: np.ndarray) -> jax.Array:
        """The logits of one batch, `[B, T]`, of arrays as `Encoded` has them."""
        rows = np.where((ids >= 0)[:, None], ids[:, None] + self.offsets, np.int32(self.rows))
        tables = self.placed
        if self.stored:
            distinct, places = np.unique(rows, return_inverse=True)
            known = int(np.searchsorted(distinct, self.rows))
            size = padded(known, 1024)
            rows = np.where(places < known, places, size).astype(np.int32).reshape(rows.shape)
            read = {n: np.zeros((size, *a.shape[1:]), a.dtype) for n, a in self.stored.items()}
            for name, array in self.stored.items():
                read[name][:known] = array[distinct[:known]]
            tables = self.placed | read
        inputs = {"ids": ids, "rows": rows, "weights": weights, "numeric": numeric}
        return self.program.call(tables, inputs)
