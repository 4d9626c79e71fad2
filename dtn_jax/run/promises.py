"""What a model of a plug-in must keep to: a row's scores depend on that row alone.

A batch is split over devices and into parts, and its end is padded; what a row costs and scores may
not depend on how. On random rows, then: permuting rows permutes the outputs, what padding holds
changes no other row, and a split batch gives the same. Where one of them fails, the first line of
the plug-in is found after which a row knows of another, or that draws noise of its own.

Letters: B rows of a batch.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.extend.core import Jaxpr, JaxprEqn, Literal, jaxprs_in_params

from dtn_jax.config import plugins
from dtn_jax.data.epochs import batch_axis
from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs
from dtn_jax.run.gradients import labels_of
from dtn_jax.run.state import example_batch, example_inputs
from dtn_jax.schema import Schema
from dtn_jax.tables.plan import TablePlan

ROWS = 22  # an even number that hardly another axis has
PARTS = 2
DRAW = pathlib.Path(batch_axis.__file__)
BY_ROW = (
    "use nothing over the rows: model.normalisation with self.input, or, within a row, "
    "dtn_jax.models.layers.layer_norm"
)
BY_DRAW = (
    "use dtn_jax.models.dropout.Dropout, or in an architecture self.draw(jax.random.normal, shape)"
)


def check(model: nn.Module, plan: TablePlan, schema: Schema, normalisation: str) -> None:
    """Raises UserError, with the plug-in's line and what to use instead, where a model's outputs
    for a row depend on other rows or on how the batch is split."""
    inputs = random_inputs(plan, schema, 0)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), inputs)

    def outputs(inputs: Inputs, train: bool, part: Any = None) -> list[jax.Array]:
        found, _ = model.apply(
            variables,
            inputs,
            train=train,
            rngs={"dropout": jax.random.key(1)},
            mutable=["batch_stats"],
        )
        return jax.tree.leaves((found.logits, found.aux))

    def of_part(inputs: Inputs, train: bool, index: Any) -> list[jax.Array]:
        with batch_axis.part(index, PARTS):
            return outputs(inputs, train)

    whole, of_part = (jax.jit(f, static_argnums=1) for f in (outputs, of_part))
    others = random_inputs(plan, schema, 1)
    other = jax.tree.map(lambda a, b: jnp.concatenate([a[:-1], b[-1:]]), inputs, others)
    for train in (False, True):
        expected = whole(inputs, train)
        broken = not alike([a[:-1] for a in whole(other, train)], [a[:-1] for a in expected])
        if not train:
            backwards = whole(jax.tree.map(lambda a: a[::-1], inputs), train)
            broken |= not alike(backwards, [a[::-1] for a in expected])
        if not (train and normalisation == "batch"):  # whose statistics are of all parts
            parts = jax.tree.map(lambda a: batch_axis.split(a, PARTS), (inputs, expected))
            for index in range(PARTS):
                rows, own = jax.tree.map(lambda a, index=index: a[index], parts)
                broken |= not alike(of_part(rows, train, index), own)
        if broken:
            function = functools.partial(outputs, train=train)
            line = raw_draw(jax.make_jaxpr(function)(inputs).jaxpr)
            if line:
                reason = f"noise for a row depends on how the batch is split{line}"
                raise UserError(f"{reason}: {BY_DRAW}")
            line = first_mixed(function, inputs, other) or ""
            raise UserError(f"a row's outputs depend on other rows of the batch{line}: {BY_ROW}")


def random_inputs(plan: TablePlan, schema: Schema, seed: int) -> Inputs:
    """ROWS rows, of which the last is padding."""
    rng = np.random.default_rng(seed)

    def drawn(a: jax.Array) -> jax.Array:
        return jnp.asarray(rng.normal(size=a.shape), a.dtype) if a.dtype.kind == "f" else a

    inputs = jax.tree.map(drawn, example_inputs(plan, ROWS))
    rows = {field.name: field.rows for field in schema.fields}
    ids = {name: rng.integers(0, rows[name], ROWS, dtype=np.int32) for name in inputs.ids}
    return inputs.replace(
        ids=jax.tree.map(jnp.asarray, ids),
        row_mask=jnp.arange(ROWS) < ROWS - 1,
        labels=labels_of(example_batch(schema, ROWS, False), schema),
    )


def alike(got: list[jax.Array], expected: list[jax.Array]) -> bool:
    """Whether arrays are equal but for rounding, or as little of a number as the other."""
    return all(
        np.allclose(a, b, 0, np.finfo(b.dtype).eps ** 0.5 * np.max(np.abs(b)), equal_nan=True)
        for a, b in zip(got, expected)
    )


def place(equation: JaxprEqn) -> str:
    """' (FILE, line N)' of the innermost line of a plug-in that made an equation, or ''."""
    for frame in equation.source_info.traceback.frames:
        path = pathlib.Path(frame.file_name)
        if path == DRAW:
            return ""
        if path in plugins.loaded:
            return f" ({path}, line {frame.line_num})"
    return ""


def raw_draw(jaxpr: Jaxpr) -> str:
    """The place of the first random draw with a number for each row that is not the package's."""

    def draws(equation: JaxprEqn) -> bool:
        inner = any(draws(e) for j in jaxprs_in_params(equation.params) for e in j.eqns)
        random = equation.primitive.name == "random_bits"
        return inner or (random and ROWS in equation.outvars[0].aval.shape)

    return next(filter(None, (place(e) for e in jaxpr.eqns if draws(e))), "")


def first_mixed(function: Callable, one: Inputs, other: Inputs) -> str:
    """The place of the first equation that differs outside of the last row, in which inputs do."""
    closed = jax.make_jaxpr(function)(one)

    def values(inputs: Inputs) -> Iterator[tuple[JaxprEqn, list]]:
        known = dict(zip(closed.jaxpr.constvars, closed.consts))
        known |= dict(zip(closed.jaxpr.invars, jax.tree.leaves(inputs)))
        for equation in closed.jaxpr.eqns:
            read = [v.val if isinstance(v, Literal) else known[v] for v in equation.invars]
            functions, params = equation.primitive.get_bind_params(equation.params)
            made = equation.primitive.bind(*functions, *read, **params)
            made = made if equation.primitive.multiple_results else [made]
            known |= dict(zip(equation.outvars, made))
            yield equation, made

    for (equation, made), (_, others) in zip(values(one), values(other)):
        if any(map(mixed, made, others)) and (line := place(equation)):
            return line
    return ""


def mixed(a: jax.Array, b: jax.Array) -> bool:
    """Whether arrays differ, and not along an axis of rows in the last row alone."""
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) or np.array_equal(a, b, equal_nan=True):
        return False
    for axis, size in enumerate(a.shape):
        kept = np.arange(size - size // ROWS)  # of rows that lie one after another
        if size % ROWS == 0 and np.array_equal(*(np.take(x, kept, axis) for x in (a, b))):
            return False
    return True
