"""Data and models with more table rows than the data set has."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.run import Run
from dtn_jax.schema import Schema
from dtn_jax.tables.plan import make_plan


def widen(schema: Schema, batch: Batch, table_rows: int) -> tuple[Schema, Batch]:
    """Spreads each id over as many new ones as make all tables `table_rows` long; 0 leaves them.

    Which of an id's new ones a row has is drawn: the k-th in proportion to 1/k, as logs have it.
    """
    if not table_rows:
        return schema, batch
    tables = schema.tables()
    factor = {name: max(1, table_rows // len(tables) // rows) for name, rows in tables.items()}
    factors = np.asarray([factor[f.table] for f in schema.slot_fields()])
    drawn = np.random.default_rng(0).random(batch.ids.shape)
    new = batch.ids * factors + np.floor(factors**drawn).astype(np.int32) - 1
    ids = np.where(batch.ids < 0, -1, new).astype(np.int32)
    fields = tuple(dataclasses.replace(f, rows=f.rows * factor[f.table]) for f in schema.fields)
    return dataclasses.replace(schema, fields=fields), dataclasses.replace(batch, ids=ids)


def with_schema(run: Run, schema: Schema) -> Run:
    """The run with the tables of another schema."""
    model = run.config.model
    views = architectures.views(model, schema)
    return dataclasses.replace(
        run,
        schema=schema,
        model=architectures.build(model, schema),
        plan=make_plan(schema, model, views, architectures.codebooks(model, schema)),
    )
