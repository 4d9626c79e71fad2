"""Fields that only training knows, as an export is told of them."""

from __future__ import annotations

from dtn_jax.errors import UserError, choose
from dtn_jax.options import pairs
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
