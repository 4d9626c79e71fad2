"""A loaded model of your own log: raw rows become the very arrays that preparation wrote."""

import made_models
import numpy as np
import own_log
import polars as pl
import pytest

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad
from dtn_jax.export.write import encoder_files

SCHEMA = """
name: shop
fields:
  user: {min_count: 2}
  item: {min_count: 2, unknown: ["3"]}
  hashed: {column: item, encoder: hash, size: 100, functions: 2}
  pair: {cross: [user, item], encoder: hash, size: 1000}
  hour: {value: hour(t)}
  cheap: {value: price < 1 and speed > 0}
  tags: {kind: bag, max_values: 4, weights: tag_weights}
  last: {column: tags, kind: bag, max_values: 2, keep: last, pooling: mean, table: tags}
  price: {kind: numeric}
  speed: {kind: numeric, encoder: standardise}
  log_price: {column: price, kind: numeric, encoder: standardise, log: true}
  embedding: {kind: vector, length: 3}
tasks:
  click:
  order: {upstream: [click], also_report: [click]}
group: user
time: t
"""


def log():
    """The log, some of its values missing."""
    frame, draw = own_log.log(2000), np.random.default_rng(3)
    weights = [draw.random(len(tags)).tolist() for tags in frame["tags"]]
    frame = frame.with_columns(tag_weights=pl.Series(weights, dtype=pl.List(pl.Float64)))
    for name in ("item", "speed", "embedding"):
        gone = pl.Series(draw.random(len(frame)) < 0.05)
        frame = frame.with_columns(pl.when(~gone).then(name).alias(name))
    gone = pl.Series(draw.random(len(frame)) < 0.05)
    return frame.with_columns(pl.when(~gone).then(pl.col("tags", "tag_weights")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The log's test rows, the prepared set, and the folder of a model of it."""
    folder, frame = tmp_path_factory.mktemp("log"), log()
    data = own_log.prepared(folder, frame, SCHEMA)

    def write(place):
        place.rmdir()
        encoder_files.write(data, place)

    made_models.write_model(folder / "model", data.schema, write)
    return own_log.split_frames(frame)["test"], data, folder / "model"


def records(data, split):
    """The arrays of a split, in the order of its rows."""
    blocks = [data.source(split)[i] for i in range(len(data.stored(split)))]
    rows = data.rows[split]
    starts = data.layout.starts(rows)
    lengths = np.diff([*starts, rows])[: len(blocks)]
    return {
        name: np.concatenate([b[name][:n] for b, n in zip(blocks, lengths)]) for name in blocks[0]
    }


@pytest.mark.parametrize("form", ["polars", "texts", "dicts"])
def test_rows_are_encoded_as_they_were_prepared(made, form):
    frame, data, folder = made
    stored = records(data, "test")
    forms = {
        "polars": frame,
        "texts": frame.with_columns(pl.col("user", "item", "price", "speed", "t").cast(pl.String)),
        "dicts": frame.to_dicts(),
    }
    encoded = export.load(folder).encode(forms[form])
    assert encoded.good.all()
    np.testing.assert_array_equal(encoded.ids, stored["ids"])
    np.testing.assert_array_equal(encoded.weights, stored["weights"])
    np.testing.assert_allclose(encoded.numeric, stored["numeric"], rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("price", "abc", "wrong type"),
        ("t", "yesterday", "wrong type"),
        ("speed", 1e39, "number beyond the range of 32-bit floats"),
        ("tags", "x", "wrong type"),
        ("tag_weights", [1.0] * 9, "weights of another length than 'tags'"),
        ("embedding", [1.0], "list of other than 3 numbers"),
    ],
)
def test_a_bad_row_is_told(made, column, value, reason):
    frame, _, folder = made
    rows = frame.head(3).to_dicts()
    rows[1][column] = value
    with pytest.raises(UserError, match=f"row 2, column '.*{column}.*': {reason}"):
        export.load(folder).score(rows)


@pytest.mark.parametrize(
    "shared", [("user", "t"), ("tags", "tag_weights", "embedding"), ("tags", "price"), None]
)
def test_what_rows_have_in_common_is_encoded_once(made, shared):
    """The same arrays, whether fields, crosses and formulas read it alone or beside the rest."""
    model = export.load(made[2])
    frame, encoding = made[0].select(model.columns).head(40), model.encoding
    shared = model.columns if shared is None else shared
    once, rest = frame[3:4].select(shared), frame.drop(shared)
    if "tags" in shared and "tag_weights" not in shared:  # lengths as those of the one list
        rest = rest.with_columns(frame["tag_weights"][3:4].new_from_index(0, 40))
    whole = rest.with_columns(once[name].new_from_index(0, 40) for name in shared)
    wanted = encoding.encode_frame(whole.select(model.columns), Bad(np.arange(1, 41)))
    found = encoding.encode_shared(once, rest, 40)
    for name in ("ids", "weights", "numeric"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert len(found) == 40
    assert wanted.good.all()
    wrong = once.with_columns(pl.lit("yesterday").alias(shared[0]))
    if shared[0] == "tags":
        assert encoding.encode_shared(wrong, rest, 40) is None


def test_fields_that_read_some_columns_alone(made):
    by = export.load(made[2]).encoding.by
    assert by.alone(["user", "t"]) == {"user", "hour"}
    assert by.without(by.alone(["user", "item"])) >= {"pair", "user", "item", "cheap"}
    assert by.alone(["tags"]) == {"last"}


def test_a_missing_column_is_named(made):
    frame, _, folder = made
    model = export.load(folder)
    for name in model.columns:
        with pytest.raises(UserError, match=f"no column '{name}', which the model needs"):
            model.score(frame.drop(name))


def test_fixed_and_optional_fields(made, tmp_path):
    frame, data, folder = made

    def write(place):
        place.rmdir()
        encoder_files.write(data, place)

    fixed = {"user": 7, "tags": None, "embedding": [0.0, 1.0, 2.0], "cheap": True}
    made_models.write_model(
        tmp_path / "m", data.schema, write, fixed=fixed, optional=("last", "hour", "hashed")
    )
    model, plain = export.load(tmp_path / "m"), export.load(folder)
    # `item` is needed by fields that are not optional; the time and the tags are not.
    assert model.columns == ("item", "t", "tags", "price", "speed")
    assert model.optional == ("t", "tags")
    got = model.encode(frame.select("item", "price", "speed")).ids
    given = frame.with_columns(user=pl.lit(7), tags=None, t=None, tag_weights=None)
    expected = plain.encode(given.with_columns(embedding=pl.lit([0.0, 1.0, 2.0]))).ids
    cheap = sum(f.slots for f in data.schema.fields[: data.schema.field_names.index("cheap")])
    assert len(np.unique(got[:, cheap])) == 1
    others = np.arange(got.shape[1]) != cheap
    np.testing.assert_array_equal(got[:, others], expected[:, others])


def test_a_fixed_bag_weighs_its_values_alike(made, tmp_path):
    frame, data, folder = made

    def write(place):
        place.rmdir()
        encoder_files.write(data, place)

    made_models.write_model(tmp_path / "m", data.schema, write, fixed={"tags": ["t1", "t2"]})
    given = frame.with_columns(tags=pl.lit(["t1", "t2"]), tag_weights=pl.lit([1.0, 1.0]))
    got, expected = export.load(tmp_path / "m").encode(frame), export.load(folder).encode(given)
    np.testing.assert_array_equal(got.weights, expected.weights)
    slots = np.cumsum([0, *(f.slots for f in data.schema.fields)])
    at = data.schema.field_names.index("tags")
    own = slice(slots[at], slots[at + 1])
    np.testing.assert_array_equal(got.ids[:, own], expected.ids[:, own])
