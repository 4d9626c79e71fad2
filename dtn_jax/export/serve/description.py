"""What GET /schema says: the columns that rows need, the fields that read them, the outputs."""

from __future__ import annotations

from typing import Any

from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Encoded
from dtn_jax.export.model import Model
from dtn_jax.export.serve.reading import EXPECTED, OR_NULL, Reading
from dtn_jax.field import SEVERAL
from dtn_jax.schema import Field

TIMES = ("2026-03-05T12:30:00Z", 1_772_713_800, 20260305)
NUMBERS = (1.0, 1)
TEXTS = ("a", 1)
NOTE = "the example's values are placeholders of the right type, not values that training saw"


def describe(model: Model, reading: Reading) -> dict[str, Any]:
    """As JSON has it."""
    columns = [
        {
            "name": name,
            "required": name not in reading.optional,
            "expected": reading.expected[name],
            "fields": list(reading.fields[name]),
        }
        for name in reading.columns
    ]
    rules = model.encoding.rules  # of a log's histories: how to make the lists
    return {
        "columns": columns,
        "fields": [
            {"name": f.name, "kind": f.kind} | ({"made": rules[f.name]} if f.name in rules else {})
            for f in model.schema.fields
        ],
        "fixed": dict(model.facts.fixed),
        "outputs": list(reading.outputs),
        "meanings": model.meanings,
        "example": {"rows": [example(model, reading)]},
        "note": NOTE,
    }


def example(model: Model, reading: Reading) -> dict[str, Any]:
    """A row that the model scores: for each column the first value of a few that it takes."""
    fields = {f.name: f for f in model.schema.fields}
    row: dict[str, Any] = dict.fromkeys(reading.columns)

    def lists_of(column: str) -> set[str]:
        """The fields that read a column; of companions, their history."""
        return {fields[name].beside or name for name in reading.fields[column]}

    for name in reading.columns:
        field = fields[reading.fields[name][0]]
        for value in _values(field):
            if _fits(model, row | {name: value}):
                row[name] = value
                break
    for name in reading.columns:  # a bag and its weights, a history and its companions
        if row[name] is None:
            of_list = [n for n in reading.columns if lists_of(n) & lists_of(name)]
            weights = EXPECTED["weights"] + OR_NULL
            both = {n: [1.0 if reading.expected[n] == weights else "a"] for n in of_list}
            row |= both if _fits(model, row | both) else {}
    return row


def _values(field: Field) -> tuple:
    if field.kind == "vector":
        return ([0.0] * field.length,)
    if field.kind in SEVERAL:
        return (["a"], *TEXTS, *TIMES)
    return (*NUMBERS, *TIMES) if field.kind == "numeric" else (*TEXTS, *TIMES)


def _fits(model: Model, row: dict[str, Any]) -> bool:
    try:
        encoded: Encoded = model.encode([row])
    except (UserError, ValueError, TypeError):
        return False
    return bool(encoded.good.all())
