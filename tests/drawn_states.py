"""States of toy models with random numbers: no model is compiled."""

import functools
from typing import NamedTuple

import jax
import numpy as np
from toy_steps import build, config

from dtn_jax.parallel.mesh import make_placement
from dtn_jax.run.state import State, create_state
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import TablePlan

ITEMS = 12_000  # rows of a table; another has 7


class Drawn(NamedTuple):
    """How a config's tables lie, its state's shapes and places, and a state."""

    plan: TablePlan
    places: State
    state: State


def placed(items: int, **changes) -> tuple[TablePlan, State]:
    """How the tables of a model with HCNet's codebooks lie, and its state's shapes and places.

    `model__embedding_dim=16` changes model.embedding_dim.
    """
    c = config(model__experts="mlp+hcnet", model__hcnet__codebook_rows=50, **changes)
    c.data.batch_size = c.data.eval_batch_size = 16
    schema = Schema("drawn", (Field("item", rows=items), Field("user", rows=7)), (Task("click"),))
    model, plan = build(c, schema)
    shapes = jax.eval_shape(lambda: create_state(c, model, plan))
    shardings = make_placement(c).state(shapes)

    def place(a, sharding):
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)

    return plan, jax.tree.map(place, shapes, shardings)


def filled(places: State) -> State:
    """A state of random numbers in these shapes and places."""
    rng = np.random.default_rng(0)

    def draw(a):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.device_put(jax.random.key(7), a.sharding)
        whole = np.issubdtype(a.dtype, np.integer)
        numbers = rng.integers(0, 60_000, a.shape) if whole else rng.normal(size=a.shape)
        return jax.device_put(np.asarray(numbers, a.dtype), a.sharding)

    return jax.tree.map(draw, places)


@functools.cache
def drawn(items: int = ITEMS, **changes) -> Drawn:
    """A state, of the same numbers whatever the placement, where shapes are equal."""
    plan, places = placed(items, **changes)
    return Drawn(plan, places, filled(places))


def rows(state: State, plan: TablePlan) -> dict[str, np.ndarray]:
    """{path of each array of tables and slots: its rows `[V, ·]`, padding too}"""
    found = {}
    for part in ("tables", "slots"):
        for path, a in jax.tree_util.tree_leaves_with_path(getattr(state, part)):
            lie, numbers = plan.arrays[path[0].key], np.asarray(a)
            if a.ndim:
                whole = a.shape == lie.shape
                numbers = lie.to_rows(numbers) if whole else lie.in_order(numbers.reshape(-1, 1))
                found[part + jax.tree_util.keystr(path)] = numbers
    return found


def others(state: State) -> list[np.ndarray]:
    """All that is not by row."""
    counts = [a for a in jax.tree.leaves(state.slots) if not a.ndim]
    state = state.replace(tables={}, slots=counts, key=jax.random.key_data(state.key))
    return [np.asarray(a) for a in jax.tree.leaves(state)]
