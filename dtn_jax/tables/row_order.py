"""What a checkpoint says of the order of its rows.

A tag is `{array: {"width": D, "per_line": K, "lanes": L, "stride": S}}`: K rows of D numbers to a
line of L, in S blocks of every S-th row, see `StoredRows`. Rows of an array without a tag, or
without a stride, lie one after another. A key that this version does not know is an error: it may
change where a row lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dtn_jax.errors import UserError
from dtn_jax.tables.stored_rows import StoredRows


class Order(NamedTuple):
    """How rows lie: the rows of a line, its numbers, and the stride."""

    per_line: int
    lanes: int
    stride: int = 1


KEYS = ("width", "per_line", "lanes", "stride")


def tag(arrays: Mapping[str, StoredRows]) -> dict[str, dict[str, int]]:
    """The tag of arrays that lie so."""
    return {name: {key: getattr(lie, key) for key in KEYS} for name, lie in arrays.items()}


def read(found: object, arrays: Mapping[str, StoredRows], where: object) -> dict[str, Order]:
    """How the arrays lie that this run has as `arrays`.

    Args:
      found: the tag of a checkpoint; None where it has none.
      arrays: how this run's arrays lie.
      where: the checkpoint, for messages.

    Raises:
      UserError: this version does not know such a tag, or rows of this width cannot lie so.
    """
    found = {} if found is None else found
    if not isinstance(found, dict):
        raise UserError(_refusal(where, found, "a tag for each array"))
    order = {}
    for name, lie in arrays.items():
        own = found.get(name, {"width": lie.width, "per_line": 1, "lanes": lie.width})
        own = {"stride": 1} | own if isinstance(own, dict) else own  # earlier versions had none
        if not (
            isinstance(own, dict)
            and set(own) == set(KEYS)
            and all(type(n) is int for n in own.values())
        ):
            raise UserError(_refusal(where, {name: own}, f"whole numbers {', '.join(KEYS)}"))
        width, per_line, lanes, stride = (own[key] for key in KEYS)
        if width != lie.width or per_line < 1 or lanes < per_line * lie.width:
            expected = f"rows of {lie.width} numbers, 1 or more of them within a line"
            raise UserError(_refusal(where, {name: own}, expected))
        if stride not in (1, lie.stride):
            expected = f"a stride of {lie.stride}"
            raise UserError(_refusal(where, {name: own}, expected))
        order[name] = Order(per_line, lanes, stride)
    return order


def _refusal(where: object, got: object, expected: str) -> str:
    return (
        f"checkpoint {where} has the rows of its tables in the order {got!r}, expected {expected}: "
        "a later version saved it, or its metadata are damaged"
    )
