"""Passes of a model over a sample that lies on the device: its data are read and sent once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.analysis.sample import Forward, columns, differ, replaced, unknown
from dtn_jax.data.epochs.reader import take
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.parallel.mesh import Placement
from dtn_jax.run.run import Run
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Float, Int

Function = Callable[..., object]  # (state, batch, *more) -> a pytree of arrays


def by_batch(function: Function, at: Placement, size: int) -> Function:
    """(state, rows `[P, ...]`, *more) -> what `function` gives for each `size` rows, stacked."""

    def over_rows(state: State, rows: Batch, *more):
        batches = jax.tree.map(lambda a: a.reshape(len(a) // size, size, *a.shape[1:]), rows)

        def one(batch):
            return function(state, jax.lax.with_sharding_constraint(batch, at.batch()), *more)

        return jax.lax.map(one, batches)

    return over_rows


def rescored(step: Function, at: Placement, size: int) -> Function:
    """(state, rows, plain, other, where) -> scores with `other`'s values of a field.

    Only the rows whose values differ are scored; the others keep `plain`, their scores before.
    Many fields have one value in most rows, and then this is most of the work saved. How many
    there are is traced: one program serves every field and method.
    """

    def rescore(state, rows, plain, other, where):
        moved = replaced(rows, other, where)
        differs = differ(moved, rows) & rows.row_mask
        order = jnp.argsort(~differs, stable=True)  # those that differ first

        def one(i, scores):
            place = jax.lax.dynamic_slice_in_dim(order, i * size, size)
            batch = jax.lax.with_sharding_constraint(take(moved, place), at.batch())
            return scores.at[place].set(step(state, batch))

        return jax.lax.fori_loop(0, -(-differs.sum() // size), one, plain)

    return rescore


class Passes:
    """A state's scores on a sample, as it is or with other values of one field.

    The sample is padded to whole batches; `order` and results are of its real rows. Scores are
    JAX's, on their way while the caller goes on.
    """

    def __init__(self, run: Run, state: State, rows: Batch):
        self.run, self.state, self.count = run, state, len(rows.ids)
        self.forward = Forward(run.model, run.plan, run.at.table_mesh)
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
        step = run.score_batch
        everywhere = run.at.replicated()
        self._take = jax.jit(take, out_shardings=everywhere)
        forget = functools.partial(unknown, run.schema)
        self._forgotten = jax.jit(forget, out_shardings=everywhere)(self.rows)
        self._plain = self._stacked(step).reshape(len(self.rows.ids), -1)
        rescore = rescored(step, run.at, self.size)
        self._rescore = jax.jit(rescore, out_shardings=everywhere)

    def map(self, function: Function, *more):
        """What `function(state, batch, *more)` gives, arrays `[B, ...]`, for all rows: numpy."""

        def joined(by_step: Array) -> np.ndarray:
            return np.asarray(by_step).reshape(-1, *by_step.shape[2:])[: self.count]

        return jax.tree.map(joined, self._stacked(function, *more))

    def total(self, function: Function, *more):
        """The sums over all batches of the arrays that it gives."""
        return jax.tree.map(lambda a: np.asarray(a).sum(axis=0), self._stacked(function, *more))

    def each(self, function: Function, batches: Int[np.ndarray, "P N"]):
        """What it gives for each batch of these rows, arrays `[P, ...]`."""
        padding = -batches.shape[1] % self.run.at.mesh.size
        place = np.pad(batches, ((0, 0), (0, padding)), constant_values=-1)
        rows = take(self.rows, jnp.asarray(place.reshape(-1)))
        return jax.tree.map(np.asarray, self._stacked(function, rows=rows, size=place.shape[1]))

    def _stacked(self, function: Function, *more, rows: Batch | None = None, size: int = 0):
        """For each `size` of the rows; by default, of all, as many as a scoring step has."""
        stacked = by_batch(function, self.run.at, size or self.size)
        run = jax.jit(stacked, out_shardings=self.run.at.replicated())
        return run(self.state, self.rows if rows is None else rows, *more)

    def plain(self) -> Float[Array, "B T"]:
        return self._plain[: self.count]

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
        where = columns(self.run.schema, field)
        return self._rescore(self.state, self.rows, self._plain, other, where)[: self.count]
