"""A loaded model: raw rows in every form, and what is told of wrong ones."""

import datetime

import made_models
import numpy as np
import polars as pl
import pytest
from made_models import FRAME, frame_model
from safetensors.numpy import load_file

from dtn_jax import export
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder

ROWS = pl.DataFrame(
    {
        "word": ["a", "unseen", None, "?", "c"],
        "id": [1, 5, None, 6, 0],
        "size": [0.0, -7.0, None, float("nan"), 1e30],
        "speed": [0.5, None, float("nan"), -40.0, 9.0],
        "tags": [["x", "unseen"], None, [], ["z", "y", "x", "x"], [None]],
        "tags_weights": [[1.0, 2.0], None, [], [0.5, 1.5, 3.0, 4.0], [2.0]],
        "vector": [[1.0, 2.0], None, [0.0, 0.0], [5.0, -1.0], [9.0, 0.0]],
        "ignored": ["x"] * 5,
    }
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The loaded model, what training reads of ROWS, and the logits of these."""
    folder = tmp_path_factory.mktemp("models")
    data = made_models.prepared(folder / "set", test=ROWS)
    model = export.load(made_models.log_model(data, folder / "made", views=2))
    rows = SplitReader(data, "test").everything()
    block = {name: np.asarray(getattr(rows, name)) for name in ("ids", "weights", "numeric")}
    weights = load_file(folder / "made" / model_folder.WEIGHTS)
    return model, block, made_models.expected(model, weights, block)


def test_rows_are_encoded_as_for_training(loaded):
    model, block, logits = loaded
    encoded = model.encode(ROWS)
    assert encoded.good.all()
    for name in ("ids", "weights", "numeric"):
        np.testing.assert_array_equal(getattr(encoded, name), block[name])
    got = model.logits(encoded)
    np.testing.assert_allclose(got, logits, rtol=1e-5)


@pytest.mark.parametrize(
    "form", ["dicts", pytest.param("pandas", marks=pytest.mark.slow), "arrow", "batch"]
)
def test_every_form_of_rows_scores_the_same(loaded, form):
    model = loaded[0]
    forms = {
        "dicts": ROWS.to_dicts,
        "pandas": ROWS.to_pandas,
        "arrow": ROWS.to_arrow,
        "batch": lambda: ROWS.to_arrow().to_batches()[0],
    }
    got = model.score(forms[form]())
    assert got.columns == ["click@all", "order@click", "order@all", "stars@all"]
    np.testing.assert_allclose(got.to_numpy(), model.score(ROWS).to_numpy(), rtol=1e-6)


def test_scores_in_every_space(loaded):
    model, _, logits = loaded
    z = logits.astype(np.float64)
    p = 1 / (1 + np.exp(-z))
    got = model.score(ROWS)
    np.testing.assert_allclose(got["click@all"], p[:, 0], rtol=1e-5)
    np.testing.assert_allclose(got["order@click"], p[:, 1], rtol=1e-5)
    np.testing.assert_allclose(got["order@all"], p[:, 0] * p[:, 1], rtol=1e-5)
    np.testing.assert_allclose(got["stars@all"], z[:, 2], rtol=1e-5)


def test_a_score_that_is_not_finite_is_a_bad_row(loaded):
    rows = FRAME.with_columns(
        vector=pl.when(pl.col("id") == 4).then([3e38, 0.0]).otherwise("vector")
    )
    with pytest.raises(UserError, match="row 4: score that is not finite"):
        loaded[0].score(rows)


def test_padding_and_batches_change_nothing(loaded):
    model = loaded[0]
    many = pl.concat([FRAME] * 5)
    small = export.load(model.folder, largest=8)
    np.testing.assert_allclose(small.score(many), model.score(many), rtol=1e-6)
    one = pl.concat([small.score(many[i : i + 1]) for i in range(len(many))])
    np.testing.assert_allclose(one, model.score(many), rtol=1e-6)
    assert small.compile() == (8,)


def test_fixed_and_optional_fields(tmp_path):
    fields = {
        "speed": "{kind: numeric, encoder: standardise, scored_as: 0.5}",
        "word": "{unknown: '?', scored_as: b}",
        "size": "{kind: numeric, optional: true}",
    }
    frame_model(tmp_path / "m", fields=fields)
    model = export.load(tmp_path / "m")
    assert model.columns == ("id", "size", "tags", "tags_weights", "vector")
    assert model.optional == ("size",)
    frame_model(tmp_path / "plain")
    plain = export.load(tmp_path / "plain")
    given = ROWS.with_columns(speed=pl.lit(0.5), word=pl.lit("b"))
    unread = ROWS.with_columns(speed=pl.lit("never read"))
    np.testing.assert_array_equal(model.score(unread), plain.score(given))
    without = plain.score(given.with_columns(size=pl.lit(None)))
    np.testing.assert_array_equal(model.score(unread.drop("size")), without)


BAD = [
    ("size", "many", "wrong type"),
    ("word", ["a"], "wrong type"),
    ("word", {"a": 1}, "wrong type"),
    ("word", "\ud800", "wrong type"),
    ("word", datetime.timedelta(1), "wrong type: .*days=1"),
    ("word", np.timedelta64(1, "D"), "wrong type: .*days=1"),
    ("tags", "x", "wrong type"),
    ("tags", ["x", "\ud800"], "wrong type"),
    ("tags_weights", [1.0, 2.0, 3.0], "weights of another length than 'tags'"),
    ("tags_weights", [1.0, None], "wrong type"),
    ("vector", [1.0], "list of other than 2 numbers"),
    ("vector", [1.0, float("nan")], "number that is not finite"),
    ("vector", [1.0, 1e39], "number beyond the range of 32-bit floats"),
    ("speed", 1e300, "number beyond the range of 32-bit floats"),
    ("vector", [3e38, 0.0], "score that is not finite"),
]


@pytest.mark.parametrize(("column", "value", "reason"), BAD)
def test_a_bad_row_is_told_and_changes_no_other(loaded, column, value, reason):
    model = loaded[0]
    rows = FRAME.to_dicts()
    good = model.score(rows)
    rows[3][column] = value
    place = "row 4: " if "score" in reason else f"row 4, column '{column}': "
    with pytest.raises(UserError, match=place + reason):
        model.score(rows)
    if "score" not in reason and "Unicode" not in reason and "days" not in reason:
        encoded = model.encode(rows)
        assert [(bad.row, bad.column, bad.reason) for bad in encoded.bad] == [(4, column, reason)]
        rest = np.arange(len(rows)) != 3
        for name, values in model.scores(model.logits(encoded)).items():
            assert np.isnan(values[3])
            np.testing.assert_allclose(values[rest], good[name].to_numpy()[rest])


def test_columns_that_are_not_those_of_the_model_are_named(loaded):
    name, once = FRAME.columns[0], FRAME.to_arrow()
    rows = [{"sped" if k == "speed" else k: v for k, v in FRAME.to_dicts()[0].items()}]
    for given, told in (
        (FRAME.drop("speed"), "no column 'speed', which the model needs"),
        (rows, r"no column 'speed'.*they have word, id, size, sped"),
        (once.append_column(name, once.column(name)), f"have column '{name}' more than once"),
        (FRAME.with_columns(word=pl.duration(days=1)), "row 1, column 'word': wrong type"),
    ):
        with pytest.raises(UserError, match=told):
            loaded[0].score(given)


@pytest.mark.parametrize("rows", [{"word": "a"}, "a", 3, ROWS.lazy(), [3]])
def test_other_forms_are_refused(loaded, rows):
    with pytest.raises(UserError, match="expected"):
        loaded[0].score(rows)


def test_no_rows(loaded):
    for rows in ([], ROWS.head(0), ROWS.head(0).to_arrow()):
        assert loaded[0].score(rows).shape == (0, 4)
