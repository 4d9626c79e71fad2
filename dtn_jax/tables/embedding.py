"""Embedding tables: which rows an example touches, and how rows become a model's inputs.

Tables live outside the modules. A `TablePlan` packs all tables of one width into one array
`[V, D]`, so that a step has one gather, one sort and one update; HCNet's codebooks are a second
packed array, whose row r holds codeword r of all C codebooks side by side (they share addresses).
The step differentiates with respect to the gathered rows, never to a table.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from ml_collections import ConfigDict

from dtn_jax.errors import UserError, choose
from dtn_jax.interface import Batch, Inputs
from dtn_jax.models.experts.hcnet import pair_addresses
from dtn_jax.options import option
from dtn_jax.schema import Schema
from dtn_jax.tables.exchange import take
from dtn_jax.tables.pooling import pool
from dtn_jax.tables.stored_rows import numbers

ROW_MULTIPLE = 1024  # tables are padded to it, so that any usual device count divides them
LARGEST_ID = 2**31 - 1  # ids are int32


@dataclasses.dataclass(frozen=True)
class DebugOptions:
    """Section `debug`."""

    check_ids: bool = option(
        False, "check the range of every id inside the compiled step; slow", runtime=True
    )


@dataclasses.dataclass(frozen=True)
class TablePlan:
    """Where each slot's rows lie in the packed arrays.

    Attributes:
      schema: the data set's.
      dim: D.
      views: names of the views; each has tables of its own.
      offsets: per view and slot the first row of its table in the packed array, `[views][L]`.
      rows: V, all tables' rows, padded to ROW_MULTIPLE.
      codebooks: C, how many codebooks the model has; 0 without HCNet.
      codebook_rows: codewords in a codebook.
      codebook_slots: the slots whose pairs address the codebooks.
      hashes, hash_seed: of the addresses.
    """

    schema: Schema
    dim: int
    views: tuple[str, ...]
    offsets: tuple[tuple[int, ...], ...]
    rows: int
    codebooks: int = 0
    codebook_rows: int = 0
    codebook_slots: tuple[int, ...] = ()
    hashes: int = 0
    hash_seed: int = 0


def make_plan(schema: Schema, model: ConfigDict, views: tuple[str, ...], codebooks: int):
    """Lays out the tables of a model.

    Raises:
      UserError: impossible HCNet options, or more rows than int32 ids can tell apart.
    """
    starts, offsets = 0, []
    for _ in views:
        first = {}
        for table, rows in schema.tables().items():
            first[table], starts = starts, starts + rows
        offsets.append(tuple(first[f.table] for f in schema.slot_fields()))
    if _padded(starts) > LARGEST_ID:
        raise UserError(
            f"{_padded(starts):,} table rows: ids are int32, and number the rows of all tables of "
            f"one width together; the most are {LARGEST_ID:,}"
        )
    plan = TablePlan(schema, model.embedding_dim, views, tuple(offsets), _padded(starts))
    if not codebooks:
        return plan
    slots = _pair_slots(schema, tuple(model.hcnet.fields))
    return dataclasses.replace(
        plan,
        codebooks=codebooks,
        codebook_rows=model.hcnet.codebook_rows,
        codebook_slots=slots,
        hashes=model.hcnet.hashes,
        hash_seed=model.hcnet.seed,
    )


def check_updates(plan: TablePlan, batch_size: int, sharers: int) -> None:
    """Raises UserError where the updates of a batch have no int32 numbers left.

    An update numbers the places of repeated ids on from a device's last row; `sharers` devices
    hold the tables together.
    """
    pairs = len(plan.codebook_slots) * (len(plan.codebook_slots) - 1) // 2
    arrays = {
        "embedding": (plan.rows, len(plan.views) * plan.schema.slots),
        "codebook": (_padded(plan.codebook_rows), pairs * plan.hashes),
    }
    for rows, each in arrays.values():
        if rows // sharers + each * batch_size > LARGEST_ID:
            raise UserError(
                f"a device's {rows // sharers:,} table rows and a batch's {each * batch_size:,} "
                f"ids: numbers up to their sum are int32, at most {LARGEST_ID:,}; split the tables "
                "over more devices (parallel.table_devices)"
            )


def _padded(rows: int) -> int:
    return -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE


def _pair_slots(schema: Schema, names: tuple[str, ...]) -> tuple[int, ...]:
    slot_fields = schema.slot_fields()
    single = {f.name: i for i, f in enumerate(slot_fields) if f.slots == 1 and not f.standardised}
    for name in names:
        choose("field in model.hcnet.fields", name, single)
    slots = tuple(single[n] for n in single if not names or n in names)
    if len(slots) < 2:
        raise UserError(f"HCNet pairs fields, but only {len(slots)} can form pairs: {names}")
    return slots


def init_tables(plan: TablePlan, key: Array, scale: float, codebook_scale: float):
    """Draws the packed arrays: normal with the given standard deviations."""
    shapes = {"embedding": ((plan.rows, plan.dim), scale)}
    if plan.codebooks:
        width = plan.codebooks * plan.dim
        shapes["codebook"] = ((_padded(plan.codebook_rows), width), codebook_scale)
    keys = jax.random.split(key, len(shapes))
    return {
        name: deviation * jax.random.normal(k, shape)
        for k, (name, (shape, deviation)) in zip(keys, shapes.items())
    }


def row_ids(
    plan: TablePlan, batch: Batch, addresses: Int[Array, "B P N"] | None = None
) -> dict[str, Int[Array, ...]]:
    """The packed rows that a batch touches: `embedding [B, views, L]`, `codebook [B, P, N]`.

    Padding, and every id of a masked row, gets the array's length: out of range on purpose, so
    that look-ups give zeros and updates drop it (JAX would take -1 as the last row). `addresses`
    are the codewords of the field pairs, in [0, codebook_rows), where they do not come from
    `pair_addresses`.
    """
    ids = jnp.where(batch.row_mask[:, None], batch.ids, -1)
    packed = ids[:, None, :] + jnp.asarray(plan.offsets, jnp.int32)[None]
    rows = {"embedding": jnp.where(ids[:, None, :] < 0, plan.rows, packed)}
    if plan.codebooks:
        if addresses is None:
            addresses = pair_addresses(
                ids[:, np.asarray(plan.codebook_slots)],
                hashes=plan.hashes,
                rows=plan.codebook_rows,
                seed=plan.hash_seed,
            )
        none = _padded(plan.codebook_rows)
        rows["codebook"] = jnp.where(batch.row_mask[:, None, None], addresses, none)
    return rows


def gather(tables: dict[str, Array], rows: dict[str, Array], look_up=take) -> dict[str, Array]:
    """Looks rows up, `[..., D]`, of at least float32; those out of range are zeros."""
    gathered = {}
    for name, ids in rows.items():
        found = numbers(look_up(tables[name], ids.reshape(-1))).reshape(*ids.shape, -1)
        gathered[name] = found.astype(jnp.promote_types(found.dtype, jnp.float32))
    return gathered


def to_inputs(plan: TablePlan, gathered: dict[str, Array], batch: Batch) -> Inputs:
    """Rows to field embeddings and codewords."""
    embedded = gathered["embedding"]  # [B, views, L, D]
    fields = {view: pool(plan.schema, embedded[:, v], batch) for v, view in enumerate(plan.views)}
    codewords = None
    if plan.codebooks:
        words = gathered["codebook"]
        codewords = words.reshape(*words.shape[:-1], plan.codebooks, plan.dim)
    return Inputs(fields=fields, codewords=codewords, row_mask=batch.row_mask)


def ids_out_of_range(plan: TablePlan, batch: Batch) -> Int[Array, " L"]:
    """Counts, per slot, the ids that are no row of their table: `debug.check_ids`."""
    limits = jnp.asarray([f.rows for f in plan.schema.slot_fields()])[None]
    bad = (batch.ids < -1) | (batch.ids >= limits)
    return (bad & batch.row_mask[:, None]).sum(axis=0)
