"""What turns raw values into rows of tables: copied from a prepared set into a model's folder."""

from __future__ import annotations

import pathlib
import shutil

from dtn_jax.data import vocabulary
from dtn_jax.data.work import SCHEMA_FILE
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.schema.spec import Spec
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.export import spec_json
from dtn_jax.export.encoding import FITTED, SPEC, VOCABULARY


def spec_of(data: Prepared) -> Spec | None:
    """The schema file of a prepared log, with the unit of its times; None of other sets."""
    path = data.folder / SCHEMA_FILE
    if not path.exists():
        return None
    return schema_file.timed(schema_file.load(path), data.notes.get("time_unit", ""))


def weight_of(data: Prepared) -> str:
    """The column of what rows stand for; '' without, though train's negatives may weigh more."""
    spec = spec_of(data)
    return data.schema.weight if spec is None else spec.weight


def write(data: Prepared, folder: pathlib.Path) -> None:
    """Fills a new folder: encoders.json, and of a log spec.json and vocabulary/ too.

    A vocabulary holds keys, hashes of the values that train has shown; never the values.
    """
    folder.mkdir()
    shutil.copyfile(data.folder / FITTED, folder / FITTED)
    spec = spec_of(data)
    if spec is None:
        return
    (folder / SPEC).write_text(spec_json.to_json(spec))
    tables = {field.table for field in spec.fields if field.encoder == "vocabulary"}
    if tables:
        (folder / VOCABULARY).mkdir()
    for table in sorted(tables):
        path = vocabulary.path_of(data.folder / VOCABULARY, table)
        shutil.copyfile(path, folder / VOCABULARY / path.name)
