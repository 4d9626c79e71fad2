"""What turns raw values into rows of tables: `encoders/`, and fields that only training knows."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Mapping

from dtn_jax.data import vocabulary
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.work import SCHEMA_FILE
from dtn_jax.errors import UserError, choose
from dtn_jax.export import encoding, spec_json
from dtn_jax.export.encoding import FITTED, SPEC, STANDS, VOCABULARY, Encoded
from dtn_jax.field import SEVERAL
from dtn_jax.options import pairs
from dtn_jax.run.run import Run
from dtn_jax.schema import Schema


def spec_of(data: Prepared) -> Spec:
    """The schema file of a prepared set, with the unit of its times."""
    spec = schema_file.load(data.folder / SCHEMA_FILE)
    return schema_file.timed(spec, data.notes.get("time_unit", ""))


def write(data: Prepared, folder: pathlib.Path) -> None:
    """Fills a new folder: encoders.json, spec.json and vocabulary/.

    A vocabulary holds keys, hashes of the values that train has shown; never the values.
    """
    folder.mkdir()
    shutil.copyfile(data.folder / FITTED, folder / FITTED)
    spec = spec_of(data)
    (folder / SPEC).write_text(spec_json.to_json(spec))
    tables = {field.table for field in spec.fields if field.encoder == "vocabulary"}
    if tables:
        (folder / VOCABULARY).mkdir()
    for table in sorted(tables):
        path = vocabulary.path_of(data.folder / VOCABULARY, table)
        shutil.copyfile(path, folder / VOCABULARY / path.name)


# ---------------------------------------------------------------- fields that only training knows


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


def encoded_row(run: Run, fixed: Mapping) -> Encoded:
    """A row that has the fixed values and nothing else, by the encoders of the prepared set.

    Raises:
      UserError: a value is none that its field can have, or the field is a cross.
    """
    encoder = encoding.read(run.data.folder, spec_of(run.data), run.schema, fixed)
    row = encoder.encode([dict.fromkeys(encoder.columns) or {"": None}])
    for bad in row.bad:
        name = bad.column.removeprefix(STANDS)
        if name in fixed:
            raise UserError(f"field {name!r} cannot be fixed to {fixed[name]!r}: {bad.reason}")
    return row


def unseen(run: Run, fixed: Mapping) -> dict[str, str]:
    """{field: what to say of it}, of fixed values that train has not shown.

    Raises:
      UserError: see `encoded_row`.
    """
    if not fixed:
        return {}
    slots = zip(run.schema.slot_fields(), encoded_row(run, fixed).ids[0], strict=True)
    kinds = ("categorical", *SEVERAL)
    unknown = {f.name: f.table for f, i in slots if i == 0 and f.kind in kinds and f.name in fixed}
    counts, notes = run.data.unknown_values.get("train", {}), {}
    for name, table in unknown.items():
        reasons = []
        if fixed[name] is not None:
            reasons.append(
                "train has not shown this value (often enough): the unknown id stands for it"
            )
        if all(counts.get(f.name) == 0 for f in run.schema.fields if f.table == table):
            reasons.append("no value of train was the unknown id, so the model has not learnt it")
        if reasons:
            notes[name] = "; ".join(reasons)
    return notes


def value_text(value: object) -> str:
    """A fixed value, for people."""
    return "the unknown id" if value is None else repr(value)
