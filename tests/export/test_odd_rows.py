"""Rows of Python with odd values are refused by number, column and value."""

import datetime

import made_models
import numpy as np
import own_log
import polars as pl
import pytest
from made_models import FRAME

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export.score_files import Job
from dtn_jax.export.serve import json_rows, reading, scorer
from dtn_jax.export.serve.limits import Limits
from dtn_jax.export.serve.refused import Refused
from dtn_jax.export.write import encoder_files

TIME = "expected a date or time such as 2026-03-09T12:00:00Z"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "made"
    made_models.builder_model(folder)
    return export.load(folder, largest=64)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A model of a log whose time is a date, and its rows."""
    folder, frame = tmp_path_factory.mktemp("log"), own_log.log(2000)
    data = own_log.prepared(folder, frame)

    def write(place):
        place.rmdir()
        encoder_files.write(data, place)

    made_models.write_model(folder / "model", data.schema, write)
    return export.load(folder / "model"), frame.head(3)


@pytest.mark.parametrize("value", [1_772_000_000, 1.5, True])
def test_a_number_that_is_no_time(shop, tmp_path, value):
    model, frame = shop
    told = rf"column 't': got {value}, {TIME}"
    rows = frame.to_dicts()
    with pytest.raises(UserError, match=f"row 1, {told}"):
        model.score([row | {"t": value} for row in rows])
    frame.with_columns(t=pl.lit(value)).write_parquet(tmp_path / "a.parquet")
    job = Job(model, [str(tmp_path / "a.parquet")], tmp_path / "s.csv", max_bad_rate=1.0)
    list(job.run())
    assert f"{TIME}: {tmp_path}/a.parquet, row 1, column 't': {value}" in job.tally.reasons()[0]


def test_a_column_that_is_there_twice(made):
    name, once = FRAME.columns[0], FRAME.to_arrow()
    with pytest.raises(UserError, match=f"the rows have column '{name}' more than once"):
        made.score(once.append_column(name, once.column(name)))


@pytest.mark.slow
def test_a_column_of_pandas_that_is_there_twice(made):
    import pandas as pd

    name, once = FRAME.columns[0], FRAME.to_pandas()
    with pytest.raises(UserError, match=f"the rows have column '{name}' more than once"):
        made.score(pd.concat([once, once[[name]]], axis=1))


def answer(model, body):
    read = reading.read(model)
    (found,) = scorer.score(model, read, [json_rows.read(body, read, Limits())]).answers
    return found


def test_the_server_shows_the_value_alone(shop, made):
    model, frame = shop
    row = frame.drop("t").write_json().encode()
    row = row.replace(b'{"user"', b'{"t": 1773000000, "user"')
    found = answer(model, b'{"rows": ' + row + b"}")
    assert isinstance(found, Refused)
    assert found.details["row"] == 1
    assert found.details["column"] == "t"
    assert found.details["got"] == "1773000000"
    assert f"expected {found.details['expected']}" == TIME
    text = FRAME.with_columns(speed=pl.lit("abc")).write_json().encode()
    found = answer(made, b'{"rows": ' + text + b"}")
    assert found.details["got"] == "'abc'"
    assert "wrong type" in found.message


def test_the_server_says_what_a_time_is(shop):
    model, frame = shop
    assert f"expected {reading.read(model).expected['t']}" == f"{TIME} or null"
    wrong = frame.head(1).drop("t").with_columns(t=pl.struct(pl.lit(1).alias("at")))
    with pytest.raises(Refused, match=f"column 't': got .*, {TIME} or null"):
        answer(model, f'{{"rows": {wrong.write_json()}}}'.encode())


def test_the_server_reads_true_as_the_model_does(made):
    """Training may have read a Boolean column as numbers."""
    true = FRAME.with_columns(speed=pl.lit(True))
    found = answer(made, b'{"rows": ' + true.write_json().encode() + b"}")
    for name, expected in made.score(true).to_dict().items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-6)
    one = made.score(FRAME.with_columns(speed=pl.lit(1.0)))
    assert made.score(true).equals(one)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("word", "\ud800", "text that is not Unicode.*ud800"),
        ("tags", ["x", "\ud800"], "text that is not Unicode.*ud800"),
        ("word", datetime.timedelta(1), "wrong type: .*days=1"),
        ("word", np.timedelta64(1, "D"), "wrong type: .*days=1"),
    ],
)
def test_an_odd_value_is_told(made, column, value, told):
    rows = FRAME.to_dicts()
    rows[1][column] = value
    with pytest.raises(UserError, match=rf"row 2, column '{column}': {told}"):
        made.score(rows)


def test_a_column_of_durations(made):
    with pytest.raises(UserError, match="row 1, column 'word': wrong type"):
        made.score(FRAME.with_columns(word=pl.duration(days=1)))
