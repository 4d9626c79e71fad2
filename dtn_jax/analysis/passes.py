"""Passes of a model over a sample that lies on the device: its data are read and sent once."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dtn_jax.analysis.sample import columns, replaced, unknown
from dtn_jax.input_pipeline import Batch, take
from dtn_jax.run import Run
from dtn_jax.schema import UserError
from dtn_jax.sharding import Placement
from dtn_jax.state import State
from dtn_jax.step import make_score_step

Function = Callable[..., object]  # (state, batch, *more) -> a pytree of arrays


def by_batch(function: Function, at: Placement, size: int) -> Function:
    """(state, rows `[P, ...]`, *more) -> what `function` gives for each `size` rows, stacked."""

    def over_rows(state: State, rows: Batch, *more):
        batches = jax.tree.map(lambda a: a.reshape(len(a) // size, size, *a.shape[1:]), rows)

        def one(batch):
            return function(state, jax.lax.with_sharding_constraint(batch, at.batch()), *more)

        return jax.lax.map(one, batches)

    return over_rows


class Passes:
    """A state's scores on a sample, as it is or with other values of one field.

    The sample is padded to whole batches; `order` and results are of its real rows. Scores are
    JAX's, on their way while the caller goes on.
    """

    def __init__(self, run: Run, state: State, rows: Batch):
        self.run, self.state, self.count = run, state, len(rows.ids)
        limit = run.config.data.device_bytes
        needed = self.count * run.data.row_bytes()
        if needed > limit:
            raise UserError(
                f"{self.count:,} rows take {needed:,} bytes, and data.device_bytes={limit:,}: "
                "take fewer rows"
            )
        devices = run.at.mesh.size
        self.size = min(run.config.data.eval_batch_size, -(-self.count // devices) * devices)
        padding = -self.count % self.size
        place = np.pad(np.arange(self.count), (0, padding), constant_values=-1)
        self.rows = jax.device_put(take(rows, place), run.at.replicated())
        by_batches = by_batch(
            make_score_step(run.model, run.plan, run.at.table_mesh), run.at, self.size
        )

        def score(state, rows, other, slots, numbers):
            found = by_batches(state, replaced(rows, other, slots, numbers))
            return found.reshape(len(rows.ids), -1)[: self.count]

        # One program for every field and method: it takes the rows that the field's values are of.
        everywhere = run.at.replicated()
        self._score = jax.jit(score, out_shardings=everywhere)
        self._take = jax.jit(take, out_shardings=everywhere)
        self._forgotten = jax.jit(unknown, out_shardings=everywhere)(self.rows)

    def map(self, function: Function, *more):
        """What `function(state, batch, *more)` gives, arrays `[B, ...]`, for all rows: numpy."""
        return jax.tree.map(self._joined, self._stacked(function, *more))

    def each(self, function: Function, *more):
        """What it gives for each batch, arrays `[steps, ...]`; the last batch may have padding."""
        return jax.tree.map(np.asarray, self._stacked(function, *more))

    def total(self, function: Function, *more):
        """The sums over all batches of the arrays that it gives."""
        return jax.tree.map(lambda a: a.sum(axis=0), self.each(function, *more))

    def _stacked(self, function: Function, *more):
        run = jax.jit(
            by_batch(function, self.run.at, self.size), out_shardings=self.run.at.replicated()
        )
        return run(self.state, self.rows, *more)

    def plain(self) -> Float[Array, "B T"]:
        return self._with(self.rows, self.run.schema.field_names[0])

    def permuted(self, field: str, order: Int[np.ndarray, " B"]) -> Float[Array, "B T"]:
        """Row i has the field's values of row `order[i]`."""
        padding = np.arange(self.count, len(self.rows.ids))
        order = jnp.asarray(np.concatenate([order, padding]), jnp.int32)
        return self._with(self._take(self.rows, order), field)

    def unknown(self, field: str) -> Float[Array, "B T"]:
        """Every value of the field is the unknown id."""
        return self._with(self._forgotten, field)

    def _with(self, other: Batch, field: str) -> Float[Array, "B T"]:
        """The field's values are those of `other`."""
        return self._score(self.state, self.rows, other, *columns(self.run.schema, field))

    def _joined(self, found: Array) -> np.ndarray:
        """Results by batch, `[steps, size, ...]`, as those of the real rows."""
        rows = np.asarray(found)
        return rows.reshape(len(rows) * self.size, *rows.shape[2:])[: self.count]
