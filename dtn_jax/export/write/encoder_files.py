"""What turns raw values into rows of tables: copied from a prepared set into a model's folder."""

from __future__ import annotations

import pathlib
import shutil

from dtn_jax.data import vocabulary
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.work import SCHEMA_FILE
from dtn_jax.export import spec_json
from dtn_jax.export.encoding import FITTED, SPEC, VOCABULARY


def spec_of(data: Prepared) -> Spec:
    """The schema file of a prepared set, with the unit of its times."""
    spec = schema_file.load(data.folder / SCHEMA_FILE)
    return schema_file.timed(spec, data.notes.get("time_unit", ""))


def weight_of(data: Prepared) -> str:
    """The column of what rows stand for; '' without, though train's negatives may weigh more."""
    return spec_of(data).weight


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
