"""Fields that only training knows, as an export is told of them."""

from __future__ import annotations

from collections.abc import Mapping

from dtn_jax.errors import UserError, choose
from dtn_jax.export import encoding
from dtn_jax.export.encoded import Encoded
from dtn_jax.export.encoding import STANDS
from dtn_jax.export.write.encoder_files import spec_of
from dtn_jax.field import SEVERAL
from dtn_jax.options import pairs
from dtn_jax.run import Run
from dtn_jax.schema import Schema


def read_fixed(text: str, schema: Schema) -> dict[str, str | None]:
    """Reads `--fix`: 'position=1,page=null', null for the unknown id.

    Raises:
      UserError: no such field, or one of lists.
    """
    fixed = {}
    for name, value in pairs(text, "--fix", "FIELD=VALUE").items():
        field = schema.fields[schema.field_names.index(choose("field", name, schema.field_names))]
        if field.kind not in ("categorical", "numeric"):
            raise UserError(f"--fix: field {name!r} is a {field.kind}, which no one value fixes")
        fixed[name] = None if value == "null" else value
    return fixed


def all_fixed(run: Run, given: Mapping[str, str | None]) -> dict:
    """{field: its one value}: those of the schema file's `scored_as`, and `given` over them."""
    return {**spec_of(run.data).fixed(), **given}


def encoded_row(run: Run, fixed: Mapping) -> Encoded:
    """A row that has the fixed values and nothing else, by the encoders of the prepared set.

    Raises:
      UserError: a value is none that its field can have, or the field is a cross.
    """
    made = encoding.read(run.data.folder, spec_of(run.data), run.schema, fixed)
    found = made.encode([dict.fromkeys(made.columns) or {"": None}])
    for bad in found.bad:
        name = bad.column.removeprefix(STANDS)
        if name in fixed:
            raise UserError(f"field {name!r} cannot be fixed to {fixed[name]!r}: {bad.reason}")
    return found


def unseen(run: Run, fixed: Mapping) -> dict[str, str]:
    """{field: what to say of it}, of fixed values that train has not shown.

    Raises:
      UserError: see `encoded_row`.
    """
    if not fixed:
        return {}
    ids, found = encoded_row(run, fixed).ids[0], {}
    slots = zip(run.schema.slot_fields(), ids, strict=True)
    unknown = {f.name for f, i in slots if i == 0 and f.kind in ("categorical", *SEVERAL)}
    for field in (f for f in run.schema.fields if f.name in unknown & set(fixed)):
        told = []
        if fixed[field.name] is not None:
            told.append(
                "train has not shown this value (often enough): the unknown id stands for it"
            )
        if never_unknown(run, field.table):
            told.append("no value of train was the unknown id, so the model has not learnt it")
        if told:
            found[field.name] = "; ".join(told)
    return found


def never_unknown(run: Run, table: str) -> bool:
    """Whether the row of unknown values of a table is as it was drawn: train has none."""
    names = [field.name for field in run.schema.fields if field.table == table]
    return all(run.data.unknown_values.get("train", {}).get(name) == 0 for name in names)


def value_text(value: object) -> str:
    """A fixed value, for people."""
    return "the unknown id" if value is None else repr(value)
