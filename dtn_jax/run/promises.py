"""What a model of a plug-in must keep to: a row's scores depend on that row alone.

A batch is split over devices and into parts, and its end is padded; what a row costs and scores may
not depend on how. On random rows, then: what the first row and the padding hold changes no other
row, in scoring rows in another order give the same, and in training a batch that is split does.
Where one of them fails, the first line of the plug-in is found after which a row knows of another,
or that draws noise of its own.

Letters: B rows of a batch.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun

from dtn_jax.config import plugins
from dtn_jax.data.epochs import batch_axis
from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs
from dtn_jax.losses.rows import labels_of
from dtn_jax.run.state import example_batch, example_inputs
from dtn_jax.schema import Schema
from dtn_jax.tables.plan import TablePlan

ROWS = 22  # an even number that hardly another axis has
PARTS = 2
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
DRAW = pathlib.Path(batch_axis.__file__)
INSTEAD = (
    "use nothing over the rows: model.normalisation with self.input or, within a row, "
    "dtn_jax.models.layers.layer_norm; for noise dtn_jax.models.dropout.Dropout, or in an "
    "architecture self.draw(jax.random.normal, shape)"
)


def check(model: nn.Module, plan: TablePlan, schema: Schema) -> None:
    """Checks a model that may have a part of a plug-in; see `check_rows`."""
    if any({"ARCHITECTURES", "EXPERTS"} & set(names) for _, names in plugins.loaded.values()):
        check_rows(model, plan, schema)


def check_rows(model: nn.Module, plan: TablePlan, schema: Schema) -> None:
    """Raises UserError, with the plug-in's line and what to use instead, where a model's outputs
    for a row depend on other rows or on how the batch is split."""
    inputs, others = (random_inputs(plan, schema, seed) for seed in range(2))
    init = jax.jit(functools.partial(model.init, train=False), compiler_options=QUICK)
    variables = init(jax.random.key(0, impl="unsafe_rbg"), inputs)

    def outputs(inputs: Inputs, train: bool) -> list[jax.Array]:
        rngs = {"dropout": jax.random.key(1, impl="unsafe_rbg")}
        given = {"train": train, "rngs": rngs, "mutable": ["batch_stats"]}
        found, _ = model.apply(variables, inputs, **given)
        return jax.tree.leaves((found.logits, found.aux))

    def of_part(inputs: Inputs, train: bool, index: int) -> list[jax.Array]:
        with batch_axis.part(index, PARTS):
            return outputs(inputs, train)

    whole, of_part = (
        jax.jit(f, static_argnums=1, compiler_options=QUICK) for f in (outputs, of_part)
    )

    def changed(first: slice) -> Inputs:
        return jax.tree.map(lambda a, b: a.at[first].set(b[first]), inputs, others)

    other = changed(slice(None, None, ROWS - 1))  # the first row and the padding
    for train in (False, True):
        expected = whole(inputs, train)
        good = alike([a[1:-1] for a in whole(other, train)], [a[1:-1] for a in expected])
        if not train:
            backwards = whole(jax.tree.map(lambda a: a[::-1], inputs), train)
            good &= alike(backwards, [a[::-1] for a in expected])
        parts = jax.tree.map(lambda a: batch_axis.split(a, PARTS), (inputs, expected))
        for index in range(PARTS) if train else ():
            rows, alone = jax.tree.map(lambda a, index=index: a[index], parts)
            good &= alike(of_part(rows, train, index), alone)
        if not good:
            function = functools.partial(outputs, train=train)
            line = first_mixed(function, inputs, changed(slice(0, 1)))
            line = line or first_draw(jax.make_jaxpr(function)(inputs).jaxpr)
            raise UserError(
                f"a row's outputs depend on other rows, or on how a batch is split{line}: {INSTEAD}"
            )


def random_inputs(plan: TablePlan, schema: Schema, seed: int) -> Inputs:
    """ROWS rows, of which the last is padding."""
    rng = np.random.default_rng(seed)

    def drawn(a: jax.Array) -> jax.Array:
        return jnp.asarray(rng.normal(size=a.shape), a.dtype) if a.dtype.kind == "f" else a

    inputs = jax.tree.map(drawn, example_inputs(plan, ROWS))
    rows = {field.name: field.rows for field in schema.fields}
    ids = {name: rng.integers(0, rows[name], ROWS, dtype=np.int32) for name in inputs.ids}
    batch = example_batch(schema, ROWS, False).replace(row_mask=jnp.arange(ROWS) < ROWS - 1)
    labels = jnp.asarray(rng.integers(0, 2, batch.labels.shape), batch.labels.dtype)
    return inputs.replace(
        ids=jax.tree.map(jnp.asarray, ids),
        row_mask=batch.row_mask,
        labels=labels_of(batch.replace(labels=labels), schema),
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


def first_draw(jaxpr: Jaxpr) -> str:
    """The place of the first random draw that is not the package's."""
    places = (place(equation) for equation in jaxpr.eqns if "random_bits" in str(equation))
    return next(filter(None, places), "")


def first_mixed(function: Callable, one: Inputs, other: Inputs) -> str:
    """The place of the first equation that differs outside of the first row, in which inputs do."""
    closed = jax.make_jaxpr(function)(one)
    made = [(e, v) for e in closed.jaxpr.eqns for v in e.outvars if str(v) != "_"]  # read later
    every = closed.jaxpr.replace(outvars=[v for _, v in made])
    values = jaxpr_as_fun(ClosedJaxpr(every, closed.consts))
    of_both = zip(*(values(*jax.tree.leaves(inputs)) for inputs in (one, other)))
    broken = (place(e) for (e, _), (a, b) in zip(made, of_both) if mixed(a, b))
    return next(filter(None, broken), "")


def mixed(a: jax.Array, b: jax.Array) -> bool:
    """Whether arrays differ, and not along an axis of rows in the first row alone."""
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) or np.array_equal(a, b, equal_nan=True):
        return False
    for axis, size in enumerate(a.shape):
        kept = np.arange(size // ROWS, size)  # of rows that lie one after another
        rest = (np.take(np.asarray(x), kept, axis) for x in (a, b))
        if size % ROWS == 0 and np.array_equal(*rest):
            return False
    return True
