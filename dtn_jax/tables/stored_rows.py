"""How a table's rows, and what optimizers keep for each, lie in memory.

A processor or a GPU reads a row wherever it starts, so rows lie one after another, `[V, D]`. A TPU
moves lines of 128 numbers: of a table of narrower rows its compiler makes padded copies, each step.
There K = 128 / D rows share a line, `[V / K, 128]`. A number kept for each row (Adam's count,
row-wise Adagrad's sum) lies in `[V]`, and where K rows share a line in `[V / K, K]`.

Neighbours of a vocabulary are often equally frequent. With a stride S, a power of 2, rows r, r + S,
r + 2 S, … stand one after another in a block, and the block of r is where the bits of r, reversed,
say. So each of 2^k ≤ S devices that hold equal ranges of an array has every 2^k-th row.

Float32 is stored as it is, bfloat16 as its bits, in uint16: into an array of bfloat16 XLA writes,
on a CPU, by way of a copy in float32 of the whole array. Integers are written in place.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.shapes import Array, Int, Shaped

BITS = jnp.uint16  # the dtype of a table of bfloat16
LARGEST_ID = 2**31 - 1  # ids are int32
LANES = 128  # numbers that a TPU moves together
TILE = 8  # lines of them
LONG = 100  # times what a table is padded by, at most: a hundredth is little memory
# Rows of a table for each id of a batch. With so few the table is short: to pass over all of it may
# be the fastest update.
SHORT = 2
MOST = 32  # rows of a line: which of them a batch touches is noted in 32 bits


@dataclasses.dataclass(frozen=True)
class StoredRows:
    """V rows of D numbers in an array `[V / K, lanes]`.

    Attributes:
      rows: V.
      width: D.
      per_line: K, the rows of a line; it divides V.
      lanes: of a line: K·D numbers, then zero padding.
      stride: S, a power of 2 that divides V / K.
    """

    rows: int
    width: int
    per_line: int = 1
    lanes: int = 0
    stride: int = 1

    def __post_init__(self):
        if not self.lanes:
            object.__setattr__(self, "lanes", self.per_line * self.width)

    @property
    def lines(self) -> int:
        return self.rows // self.per_line

    @property
    def shape(self) -> tuple[int, int]:
        return self.lines, self.lanes

    @property
    def by_row(self) -> tuple[int, ...]:
        """The shape of an array with a number for each row."""
        return (self.rows,) if self.per_line == 1 else (self.lines, self.per_line)

    @property
    def storage(self) -> float:
        """Bytes of memory for each byte of a row."""
        return self.lanes / (self.per_line * self.width)

    def split(self, devices: int) -> StoredRows:
        """The part that each of `devices` holds, by the places of its rows."""
        return dataclasses.replace(self, rows=self.rows // devices, stride=1)

    def places(self, rows: Int[Array | np.ndarray, "*N"]) -> Int[Array | np.ndarray, "*N"]:
        """Where rows stand; V for those out of range."""
        xp = np if isinstance(rows, np.ndarray) else jnp
        known = (rows >= 0) & (rows < self.rows)
        if self.stride == 1:
            return xp.where(known, rows, self.rows)
        block = _bits_reversed(rows % self.stride, self.stride)
        at = block * (self.rows // self.stride) + rows // self.stride
        return xp.where(known, at, self.rows)

    @property
    def residues(self) -> np.ndarray:
        """The rows of each block, modulo S, `[S]`."""
        return _bits_reversed(np.arange(self.stride), self.stride)

    def take(self, table: Shaped[Array, "L lanes"], ids: Int[Array, " N"]) -> Shaped[Array, "N D"]:
        """Rows of a table that lies here; those out of range are zeros."""
        line, place = self.where(ids)
        lines = table.at[line].get(mode="fill", fill_value=0)
        rows = lines[:, : self.width]
        for k in range(1, self.per_line):
            kth = lines[:, k * self.width : (k + 1) * self.width]
            rows = jnp.where((place == k)[:, None], kth, rows)
        return rows

    def where(self, ids: Int[Array, " N"]) -> tuple[Int[Array, " N"], Int[Array, " N"]]:
        """The line of each row and its place there, in [0, K); of no negative ids."""
        k = jnp.asarray(self.per_line, ids.dtype)
        return jax.lax.div(ids, k), jax.lax.rem(ids, k)

    def to_lines(
        self, rows: Shaped[Array | np.ndarray, "V D"]
    ) -> Shaped[Array | np.ndarray, "L lanes"]:
        """Lines of all rows, or of some where S = 1; NumPy in, NumPy out."""
        used = self.per_line * self.width
        if self.stride > 1:
            rows = rows.reshape(-1, self.stride, self.width)[:, self.residues].swapaxes(0, 1)
        lines = rows.reshape(-1, used)
        xp = np if isinstance(rows, np.ndarray) else jnp
        return lines if used == self.lanes else xp.pad(lines, ((0, 0), (0, self.lanes - used)))

    def to_rows(
        self, lines: Shaped[Array | np.ndarray, "L lanes"]
    ) -> Shaped[Array | np.ndarray, "V D"]:
        """Rows of all lines, or of some where S = 1; NumPy in, NumPy out."""
        return self.in_order(lines[:, : self.per_line * self.width].reshape(-1, self.width))

    def in_order(
        self, stored: Shaped[Array | np.ndarray, "V ..."]
    ) -> Shaped[Array | np.ndarray, "V ..."]:
        """What is stored row by row, in the rows' own order."""
        if self.stride == 1:
            return stored
        by_block = stored.reshape(self.stride, -1, *stored.shape[1:])
        return by_block.swapaxes(0, 1)[:, self.residues].reshape(stored.shape)

    def place(self) -> np.ndarray:
        """Which of its line's rows each lane belongs to, `[lanes]`; K: to none."""
        return np.minimum(np.arange(self.lanes) // self.width, self.per_line)

    def columns(self) -> np.ndarray:
        """Which number of its row each lane holds, `[lanes]`."""
        return np.arange(self.lanes) % self.width

    def spread(self, by_row: Shaped[Array, "N K"]) -> Shaped[Array, "N lanes"]:
        """A number for each row of a line, in all lanes of that row."""
        if self.per_line == 1 and self.lanes == self.width:
            return by_row
        place, spread = jnp.asarray(self.place())[None], by_row[:, :1]
        for k in range(1, self.per_line):
            spread = jnp.where(place == k, by_row[:, k : k + 1], spread)
        return spread

    def mean(self, lines: Shaped[Array, "N lanes"]) -> Shaped[Array, "N K"]:
        """The mean of each row of a line."""
        parts = (lines[:, k * self.width : (k + 1) * self.width] for k in range(self.per_line))
        return jnp.stack([jnp.mean(part, axis=-1) for part in parts], axis=1)

    def alone(
        self, rows: Shaped[Array, "N D"], place: Int[Array, " N"]
    ) -> Shaped[Array, "N lanes"]:
        """Each row in a line of its own at `place` in [0, K), zeros in the other lanes."""
        tiled = jnp.tile(rows, (1, -(-self.lanes // self.width)))[:, : self.lanes]
        if self.per_line == 1 and self.lanes == self.width:
            return tiled
        return jnp.where(jnp.asarray(self.place())[None] == place[:, None], tiled, 0)


def _bits_reversed(
    numbers: Int[Array | np.ndarray, "*N"], below: int
) -> Int[Array | np.ndarray, "*N"]:
    """Numbers below a power of 2, with their bits in the opposite order."""
    bits, result = below.bit_length() - 1, numbers * 0
    for k in range(bits):
        result = result | (((numbers >> k) & 1) << (bits - 1 - k))
    return result


def lay_out(rows: int, width: int, platform: str, multiple: int, stride: int = 1) -> StoredRows:
    """How at least `rows` rows of `width` numbers lie on a platform (cpu, gpu or tpu).

    The number of lines is padded to `multiple`, which `stride` divides; of a long table on a TPU
    to whole tiles in each block, without which its compiler copies it to draw its first rows.
    """
    per_line, lanes = 1, width
    if platform == "tpu":
        per_line, lanes = max(1, min(LANES // width, MOST)), -(-width // LANES) * LANES
        tiled = TILE * multiple
        if LONG * tiled * per_line <= rows <= LARGEST_ID - tiled * per_line:
            multiple = tiled
    lines = -(-rows // (per_line * multiple)) * multiple
    return StoredRows(lines * per_line, width, per_line, lanes, stride)


def computed_once(ids: Int[Array, " N"], platform: str) -> Int[Array, " N"]:
    """The same ids; on a CPU by way of a scatter, which its compiler makes once.

    What it could fuse, it would compute again for each number of a row that is looked up: where
    rows stand took a fifth of shared_bottom's scoring. A loop of training steps carries it, and so
    computes it once.
    """
    if platform != "cpu":
        return ids
    every = jnp.arange(len(ids), dtype=jnp.int32)
    kept = {"unique_indices": True, "indices_are_sorted": True}
    return jnp.zeros_like(ids).at[every].set(ids, **kept)


def to_bits(rows: Array) -> Array:
    """Numbers as bits of the nearest bfloat16."""
    return jax.lax.bitcast_convert_type(rows.astype(jnp.bfloat16), BITS)


def numbers(rows: Array) -> Array:
    """What stored rows mean: float32 of bits, anything else as it is."""
    if rows.dtype != BITS:
        return rows
    return jax.lax.bitcast_convert_type(rows, jnp.bfloat16).astype(jnp.float32)
