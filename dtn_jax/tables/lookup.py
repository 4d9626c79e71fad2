"""Which rows an example touches, and how rows become a model's inputs.

The step differentiates with respect to the gathered rows, never to a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.interface import Batch, Inputs
from dtn_jax.shapes import Array, Int
from dtn_jax.tables import pooling
from dtn_jax.tables.addresses import pair_addresses
from dtn_jax.tables.exchange import Exchange
from dtn_jax.tables.plan import TablePlan
from dtn_jax.tables.stored_rows import numbers


def row_ids(plan: TablePlan, batch: Batch) -> dict[str, Int[Array, ...]]:
    """The rows that a batch touches: `embedding [B, views, L]`, `codebook [B, P, N]`.

    Padding, and every id of a masked row, gets the array's rows V: out of range on purpose, so
    that look-ups give zeros and updates drop it (JAX would take -1 as the last row).
    """
    ids = jnp.where(batch.row_mask[:, None], batch.ids, -1)
    packed = ids[:, None, :] + jnp.asarray(plan.offsets, jnp.int32)[None]
    rows = {"embedding": jnp.where(ids[:, None, :] < 0, plan.rows, packed)}
    if plan.codebooks:
        addresses = pair_addresses(
            ids[:, np.asarray(plan.codebook_slots)],
            hashes=plan.hashes,
            rows=plan.codebook_rows,
            seed=plan.hash_seed,
        )
        none = plan.arrays["codebook"].rows
        rows["codebook"] = jnp.where(batch.row_mask[:, None, None], addresses, none)
    return rows


def gather(
    tables: dict[str, Array], rows: dict[str, Array], look_ups: Mapping[str, Callable]
) -> dict[str, Array]:
    """Looks rows up, `[..., D]`, of at least float32; those out of range are zeros.

    `rows` are those of `row_ids`, `look_ups` those of `exchange.look_ups`, by packed array.
    """
    gathered = {}
    for name, ids in rows.items():
        with jax.named_scope("look_up"):
            gathered[name] = _meant(look_ups[name](tables[name], ids.reshape(-1)), ids.shape[1:])
    return gathered


def route(rows: dict[str, Array], exchanges: Mapping[str, Exchange]) -> dict[str, Any]:
    """What look-ups and updates need of the ids, by packed array; it depends on no table."""
    with jax.named_scope("route"):
        return {name: exchanges[name].route(ids.reshape(-1)) for name, ids in rows.items()}


def ask(
    plan: TablePlan,
    tables: dict[str, Array],
    routed: dict[str, Any],
    exchanges: Mapping[str, Exchange],
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Rows as `gather` gives them, and what the updates need, by packed array."""
    gathered, requests = {}, {}
    for name, shape in plan.ids_shapes.items():
        with jax.named_scope("look_up"):
            rows, requests[name] = exchanges[name].look_up(tables[name], routed[name])
            gathered[name] = _meant(rows, shape)
    return gathered, requests


def _meant(rows: Array, shape: tuple[int, ...]) -> Array:
    """Looked-up rows as numbers; `shape` is that of an example's ids."""
    rows = numbers(rows).reshape(-1, *shape, rows.shape[-1])
    return rows.astype(jnp.promote_types(rows.dtype, jnp.float32))


def to_inputs(plan: TablePlan, gathered: dict[str, Array], batch: Batch) -> Inputs:
    """Rows to field embeddings and codewords; vectors, numbers and histories stand beside them."""
    embedded = gathered["embedding"]  # [B, views, L, D]
    views = {view: embedded[:, v] for v, view in enumerate(plan.views)}
    schema = plan.schema
    codewords = None
    if plan.codebooks:
        words = gathered["codebook"]
        codewords = words.reshape(*words.shape[:-1], plan.codebooks, plan.dim)
    return Inputs(
        {view: pooling.pool(schema, rows, batch) for view, rows in views.items()},
        codewords,
        batch.row_mask,
        vectors=pooling.vectors(schema, batch),
        numbers=pooling.numbers(schema, batch),
        histories={view: pooling.histories(schema, rows, batch) for view, rows in views.items()},
        ids={
            field.name: batch.ids[:, place.start]
            for field, place in zip(schema.fields, pooling.slots_of(schema).values())
            if field.kind == "categorical"
        },
        names=schema.read_names,
    )
