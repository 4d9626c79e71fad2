"""What a model reads from rows: its columns, those that may be missing, and what each holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dtn_jax.data.raw.types import Types
from dtn_jax.errors import UserError, choose
from dtn_jax.export.encoding import time_of
from dtn_jax.export.model import Model
from dtn_jax.export.serve.refused import Refused, shown
from dtn_jax.schema import Field

EXPECTED = {
    "categorical": "text or a number",
    "numeric": "a number",
    "bag": "a list of texts or numbers",
    "sequence": "a list of texts or numbers, the newest last",
    "companion": "a list of texts or numbers, one for each of {}",
    "vector": "a list of {} numbers",
    "weights": "a list of numbers, as long as the bag's",
    "formula": "a value that {} can read",
}
OR_NULL = " or null"
NUMBER = EXPECTED["numeric"] + OR_NULL


@dataclasses.dataclass(frozen=True)
class Reading:
    """Of one model.

    Attributes:
      columns: that are read, in the model's order.
      optional: those that rows may lack.
      expected: {column: what it holds, in words}.
      fields: {column: the fields that read it}.
      outputs: that it gives.
      types: {column: its type}, as training had it.
    """

    columns: tuple[str, ...]
    optional: frozenset[str]
    expected: Mapping[str, str]
    fields: Mapping[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    types: Types

    def chosen(self, names: object) -> tuple[str, ...]:
        """The outputs that a request names; all, if it names none."""
        if names is None:
            return self.outputs
        if not isinstance(names, Sequence) or isinstance(names, str) or not names:
            raise Refused(422, "outputs: expected a list of names: " + ", ".join(self.outputs))
        try:
            return tuple(dict.fromkeys(choose("output", str(n), self.outputs) for n in names))
        except UserError as error:
            raise Refused(422, shown(str(error))) from None


def read(model: Model) -> Reading:
    expected, fields = {}, {}
    for field in model.schema.fields:
        for column in model.encoding.columns_of(field.name):
            expected.setdefault(column, _expected(model, field, column) + OR_NULL)
            fields[column] = (*fields.get(column, ()), field.name)
    return Reading(
        columns=model.columns,
        optional=frozenset(model.optional),
        expected=expected,
        fields=fields,
        outputs=model.outputs,
        types={name: model.encoding.types[name] for name in model.columns},
    )


def widened(before: str, now: str) -> bool:
    """Whether a column that is to hold `now` takes all that it held `before`."""
    return now == before or (before, now) == (NUMBER, EXPECTED["categorical"] + OR_NULL)


def _expected(model: Model, field: Field, column: str) -> str:
    by = model.encoding
    spec = by.fitted[field.name].spec
    formula = spec.value is not None and not spec.value.column
    if column == spec.weights:
        return EXPECTED["weights"]
    if formula and column in by.times:
        return time_of(by.times[column])
    if formula:
        return EXPECTED["formula"].format(spec.value.text)
    if field.beside:
        return EXPECTED["companion"].format(by.columns_of(field.beside)[0])
    return EXPECTED[spec.kind].format(field.length)
