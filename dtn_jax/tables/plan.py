"""Where each table's rows lie.

Tables live outside the modules. A `TablePlan` packs all tables of one width into one array
`[V, D]`, so that a step has one gather, one sort and one update; HCNet's codebooks are a second
packed array, whose row r holds codeword r of all C codebooks side by side (they share addresses).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array
from dtn_jax.tables.addresses import pair_fields
from dtn_jax.tables.stored_rows import LARGEST_ID, StoredRows, lay_out

ROW_MULTIPLE = 1024  # tables are padded to so many lines, so that any usual device count divides
STRIDE = 1024  # of fields' tables: each of up to so many devices has every n-th row


@dataclasses.dataclass(frozen=True)
class TablePlan:
    """Where each slot's rows lie in the packed arrays.

    Attributes:
      schema: the data set's.
      dim: D.
      views: names of the views; each has tables of its own.
      offsets: per view and slot the first row of its table in the packed array, `[views][L]`.
      arrays: how the rows of each packed array lie in memory: `embedding`, and `codebook`.
      platform: cpu, gpu or tpu; it decides how rows lie and how they are updated.
      everywhere: the packed arrays that every device of a mesh has whole; see `with_copies`.
      codebooks: C, how many codebooks the model has; 0 without HCNet.
      codebook_rows: codewords in a codebook.
      codebook_slots: the slots whose pairs address the codebooks.
      hashes, hash_seed: of the addresses.
    """

    schema: Schema
    dim: int
    views: tuple[str, ...]
    offsets: tuple[tuple[int, ...], ...]
    arrays: Mapping[str, StoredRows]
    platform: str = "cpu"
    everywhere: frozenset[str] = frozenset()
    codebooks: int = 0
    codebook_rows: int = 0
    codebook_slots: tuple[int, ...] = ()
    hashes: int = 0
    hash_seed: int = 0

    @property
    def rows(self) -> int:
        """V, all tables' rows, padded."""
        return self.arrays["embedding"].rows

    @property
    def used(self) -> dict[str, int]:
        """The rows of each packed array without its padding."""
        embedding = sum(self.schema.tables().values()) * len(self.views)
        rows = {"embedding": embedding, "codebook": self.codebook_rows}
        return {name: rows[name] for name in self.arrays}

    @property
    def ids_shapes(self) -> dict[str, tuple[int, int]]:
        """Of an example's ids: `embedding (views, L)`, `codebook (P, N)`; see `lookup.row_ids`."""
        pairs = len(self.codebook_slots) * (len(self.codebook_slots) - 1) // 2
        shapes = {
            "embedding": (len(self.views), self.schema.slots),
            "codebook": (pairs, self.hashes),
        }
        return {name: shapes[name] for name in self.arrays}

    @property
    def ids_of_example(self) -> dict[str, int]:
        """How many rows of each packed array an example looks up, repeats counted."""
        return {name: math.prod(shape) for name, shape in self.ids_shapes.items()}


def make_plan(
    schema: Schema,
    model: ConfigDict,
    views: tuple[str, ...],
    codebooks: int,
    platform: str = "cpu",
) -> TablePlan:
    """Lays out the tables of a model, as suits a platform.

    Raises:
      UserError: impossible HCNet options, or more rows than int32 ids can tell apart.
    """
    starts, offsets = 0, []
    for _ in views:
        first = {}
        for table, rows in schema.tables().items():
            first[table], starts = starts, starts + rows
        offsets.append(tuple(first[f.table] for f in schema.slot_fields()))
    embedding = lay_out(starts, model.embedding_dim, platform, ROW_MULTIPLE, STRIDE)
    if embedding.rows > LARGEST_ID:
        raise UserError(
            f"{starts:,} table rows, {embedding.rows:,} with padding: ids are int32, and number "
            f"the rows of all tables of one width together; the most are {LARGEST_ID:,}"
        )
    arrays = {"embedding": embedding}
    plan = TablePlan(schema, model.embedding_dim, views, tuple(offsets), arrays, platform)
    if not codebooks:
        return plan
    slots = _pair_slots(schema, tuple(model.hcnet.fields))
    width = codebooks * model.embedding_dim
    codebook = lay_out(model.hcnet.codebook_rows, width, platform, ROW_MULTIPLE)
    return dataclasses.replace(
        plan,
        arrays={**arrays, "codebook": codebook},
        codebooks=codebooks,
        codebook_rows=model.hcnet.codebook_rows,
        codebook_slots=slots,
        hashes=model.hcnet.hashes,
        hash_seed=model.hcnet.seed,
    )


def with_copies(plan: TablePlan, examples: int) -> TablePlan:
    """The plan of devices that look up the ids of so many examples each, and share the tables.

    A table of no more rows than a device looks up ids is copied to every device: most of its rows
    would travel to each in every step, and longer (measured between simulated devices). How a
    checkpoint is written does not depend on it.
    """
    ids = plan.ids_of_example
    short = (name for name, rows in plan.used.items() if rows <= ids[name] * examples)
    return dataclasses.replace(plan, everywhere=frozenset(short))


def check_updates(plan: TablePlan, batch_size: int, sharers: int) -> None:
    """Raises UserError where the updates of a batch have no int32 numbers left.

    An update numbers the places of repeated ids on from a device's last row; `sharers` devices
    hold the tables together.
    """
    for name, lie in plan.arrays.items():
        rows = lie.rows if name in plan.everywhere else lie.rows // sharers
        ids = plan.ids_of_example[name] * batch_size
        if rows + ids > LARGEST_ID:
            raise UserError(
                f"a device's {rows:,} table rows and a batch's {ids:,} ids: numbers up to their "
                f"sum are int32, at most {LARGEST_ID:,}; split the tables over more devices "
                "(parallel.table_devices), or lower data.batch_size"
            )


def _pair_slots(schema: Schema, names: tuple[str, ...]) -> tuple[int, ...]:
    slot_fields = schema.slot_fields()
    own = {f.name: i for i, f in enumerate(slot_fields) if not f.beside}
    slots = tuple(own[name] for name in pair_fields(schema, names))
    if len(slots) < 2:
        raise UserError(f"HCNet pairs fields, but only {len(slots)} can form pairs: {names}")
    return slots


def init_tables(plan: TablePlan, key: Array, scale: Array | float, codebook_scale: float):
    """Draws the packed arrays: normal with the given standard deviations.

    A row's numbers do not depend on how it lies in memory.
    """
    deviations = {"embedding": scale, "codebook": codebook_scale}
    keys = jax.random.split(key, len(plan.arrays))
    return {
        name: deviations[name] * _normal(k, lie)
        for k, (name, lie) in zip(keys, plan.arrays.items())
    }


def _normal(key: Array, lie: StoredRows) -> Array:
    used = lie.per_line * lie.width
    shape = lie.lines // lie.stride, used
    if lie.stride == 1:
        drawn = jax.random.normal(key, shape)  # the n-th number depends on n alone
    else:
        keys = jax.random.split(key, lie.stride)
        drawn = jax.vmap(lambda key: jax.random.normal(key, shape))(keys).reshape(lie.lines, used)
    return drawn if used == lie.lanes else jnp.pad(drawn, ((0, 0), (0, lie.lanes - used)))
