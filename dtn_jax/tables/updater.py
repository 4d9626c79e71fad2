"""How the rows of a table move: by an optimizer of rows, or by one of whole tables."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import optax
from ml_collections import ConfigDict

from dtn_jax.options import option
from dtn_jax.shapes import Array
from dtn_jax.tables import row_optimizers, update_by_search, update_by_sort, update_whole
from dtn_jax.tables.row_optimizers import RowOptimizer, Scalars, Slots
from dtn_jax.tables.stored_rows import StoredRows
from dtn_jax.tables.update_whole import WholeSums

OPTIMIZERS = ("adagrad", "adam", "sgd", "dense")


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """Of the section `optim`."""

    tables: str = option(
        "adam",
        "adam (lazy), adagrad (row-wise) and sgd step the rows touched; dense: Adam on every row",
        choices=OPTIMIZERS,
    )
    table_learning_rate: float = option(1e-3, "of tables and codebooks", least=0)
    table_l2: float = option(
        0.0, "L2 on the rows that a step touches, added to their gradient", least=0
    )
    table_dtype: str = option(
        "float32",
        "bfloat16 halves tables, not their slots; numbers are rounded at random",
        choices=("float32", "bfloat16"),
        needs={"optim.tables": ("adam", "adagrad", "sgd")},
    )
    table_init: float = option(0.01, "standard deviation of initial embeddings", least=0, most=100)
    codebook_init: float = option(
        0.01, "standard deviation of initial codewords", least=0, most=100
    )


class Updater(NamedTuple):
    """Of tables that lie as suits a platform.

    Attributes:
      init: `(table, lie) -> slots`.
      rows: `(lie, table, slots, ids [N], looked_up [N, D], gradient [N, D], scalars, repeats=0) ->
        (table, slots)`, a step of the rows `ids` of `lie`, those out of range dropped;
        `repeats` as in `update_by_sort.update`. None for an optimizer of whole tables.
      sums: `(lie, ids, gradient, repeats=0) -> WholeSums`.
      whole: `(lie, table, slots, sums, scalars) -> (table, slots)`, the same step of all rows.
    """

    init: Callable[[Array, StoredRows], Slots]
    rows: Callable[..., tuple[Array, Slots]] | None
    sums: Callable[..., WholeSums]
    whole: Callable[[StoredRows, Array, Slots, WholeSums, Scalars], tuple[Array, Slots]]


def table_updater(optim: ConfigDict, platform: str) -> Updater:
    """How tables move that lie as suits a platform (cpu, gpu or tpu)."""
    if optim.tables == "dense":
        adam = optax.scale_by_adam(optim.b1, optim.b2, optim.eps)
        return of_tables(adam, platform)
    optimizer = {
        "adagrad": row_optimizers.adagrad(optim.eps),
        "adam": row_optimizers.adam(optim.b1, optim.b2, optim.eps),
        "sgd": row_optimizers.sgd(),
    }[optim.tables]
    return of_rows(optimizer, platform)


def of_rows(optimizer: RowOptimizer, platform: str) -> Updater:
    """Steps the rows that a batch touches, and no others."""

    def by_search(lie, table, slots, ids, looked_up, gradient, scalars, repeats=0):
        given = ids, looked_up, gradient, scalars
        return update_by_search.update(optimizer, lie, table, slots, *given)

    def by_sort(lie, table, slots, ids, looked_up, gradient, scalars, repeats=0):
        given = ids, gradient, scalars, repeats
        return update_by_sort.update(optimizer, lie, table, slots, *given)

    rows = by_search if platform == "cpu" else by_sort
    whole = functools.partial(update_whole.step, optimizer)
    return Updater(optimizer.init, rows, _sums(platform), whole)


def of_tables(directions: optax.GradientTransformation, platform: str) -> Updater:
    """An optax optimizer on every row of a table, touched or not; cost grows with the table.

    This is what the published runs do (Adam on whole tables): untouched rows have a zero gradient,
    but their moments decay and still move them. L2 stays with the touched rows.
    """

    def whole(lie, table, slots, sums, scalars):
        dense = update_whole.with_l2(lie, table, sums, scalars.l2)
        direction, slots = directions.update(dense, slots, table)
        return table - scalars.rate.astype(table.dtype) * direction, slots

    return Updater(lambda table, lie: directions.init(table), None, _sums(platform), whole)


def _sums(platform: str) -> Callable[..., WholeSums]:
    def by_search(lie, ids, gradient, repeats=0):
        return update_by_search.sums(lie, ids, gradient)

    return by_search if platform == "cpu" else update_by_sort.sums
