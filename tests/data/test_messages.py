"""Messages about a schema file and a log that do not go together say what to write instead."""

import polars as pl
import pytest
from damaged_logs import FLAT, frame, schema_file

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.schema import schema_file as reading
from dtn_jax.errors import UserError

HINT = " Is 'watch' a number? Then give it kind: regression. No set is written"
BINARY = FLAT.replace("watch: {kind: regression, range: [0, 100]}", "watch:")


def refused(folder, text, data=None):
    raw = folder / "log.parquet"
    (frame() if data is None else data).write_parquet(raw)
    with pytest.raises(UserError) as told:
        prepare(schema_file(folder, text), str(raw), folder, processes=1)
    return str(told.value).replace(str(raw), "FILE").replace(str(folder / "shop.yaml"), "SCHEMA")


def test_a_number_as_a_binary_label(tmp_path):
    assert HINT in refused(tmp_path, BINARY)
    bad = pl.int_range(pl.len()) % 3 == 0
    data = frame().with_columns(watch=pl.when(bad).then(7.5).otherwise(1.0))
    assert HINT in refused(tmp_path, BINARY, data)


def test_a_few_bad_labels_are_no_number(tmp_path):
    """Nor is a label a number where most rows are bad for something else, or it is a regression."""
    few = pl.int_range(pl.len()) < 10
    data = frame().with_columns(watch=pl.when(few).then(2.0).otherwise(1.0))
    assert "10 of 2,000 rows are bad" in (told := refused(tmp_path, BINARY, data))
    assert "regression" not in told
    data = frame().with_columns(pl.when(pl.int_range(pl.len()) < 1200).then(-1.0).alias("w"))
    told = refused(tmp_path, BINARY, data)
    assert "weight that is no finite number" in told
    assert "regression" not in told
    assert "regression" not in refused(tmp_path, FLAT, frame().with_columns(watch=200.0))


def test_a_column_that_is_not_there_is_named_once(tmp_path):
    told = refused(tmp_path, FLAT, frame().drop("item"))
    assert told.startswith("FILE: SCHEMA, line 5: field 'item': unknown column 'item'. ")
    told = refused(tmp_path, FLAT, frame().drop("click"))
    assert told.startswith("FILE: SCHEMA, line 9: label of 'click': unknown column 'click'. ")
    told = refused(tmp_path, FLAT.replace("item: {min", "item: {column: it, min"))
    assert told.startswith("FILE: SCHEMA, line 5: field 'item' 'it': unknown column 'it'. ")


def test_a_cross_of_a_column_that_is_no_field():
    text = "fields: {x: {cross: [user, hour]}}\ntasks: {click: }\n"
    with pytest.raises(UserError) as told:
        reading.loads(text)
    assert str(told.value) == (
        "schema.yaml, line 1: field 'x' crosses 'user', which is no field. A cross is made of "
        "fields of this file: add user to `fields`"
    )
