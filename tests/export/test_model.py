"""A loaded model: raw rows in every form, and what is told of wrong ones; a folder that is not as
it was written, or that a stranger wrote, gives clean errors."""

import datetime
import shutil
import struct

import jax
import jax.numpy as jnp
import made_models
import numpy as np
import polars as pl
import pytest
from jax import export as jax_export
from made_models import FRAME, frame_model
from safetensors.numpy import load_file, save_file

from dtn_jax import export
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.model_folder import MODEL, PROGRAM, SCHEMA, WEIGHTS

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
    inputs = made_models.read_by_program(rows, model.facts.offsets, model.facts.rows)
    weights = load_file(folder / "made" / model_folder.WEIGHTS)
    return model, inputs, made_models.logits_of(weights, inputs)


def test_rows_are_encoded_as_for_training(loaded):
    model, inputs, logits = loaded
    encoded = model.encode(ROWS)
    assert encoded.good.all()
    for name in ("ids", "weights", "numeric"):
        np.testing.assert_array_equal(getattr(encoded, name), inputs[name])
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


def test_fixed_and_optional_fields(tmp_path, whole):
    fields = {
        "speed": "{kind: numeric, encoder: standardise, scored_as: 0.5}",
        "word": "{unknown: '?', scored_as: b}",
        "size": "{kind: numeric, optional: true}",
    }
    frame_model(tmp_path / "m", fields=fields)
    model = export.load(tmp_path / "m")
    assert model.columns == ("id", "size", "tags", "tags_weights", "vector")
    assert model.optional == ("size",)
    plain = export.load(whole)
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


# ---------------------------------------------------------------- damaged folders


FILES = (MODEL, PROGRAM, SCHEMA, WEIGHTS, "calibration.json", "encoders/encoders.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "whole"
    frame_model(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "m")


def sealed(folder, made=None):
    """Writes a manifest that agrees with the files, as a stranger can."""
    program = {"made": made or model_folder.now(), "jax": jax.__version__}
    model_folder.write_manifest(folder, {"program": program})


def test_a_program_that_calls_the_machine_is_not_run(folder):
    whole = jax_export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    read, _ = jax.tree.unflatten(whole.in_tree, whole.in_avals)

    def called(weights, inputs):
        out = jax.ShapeDtypeStruct((3,), jnp.float32)
        found = jax.ffi.ffi_call("system", out)()
        return jnp.zeros((inputs["ids"].shape[0], 3), jnp.float32) + found[None]

    batch, rows = jax_export.symbolic_shape("B, R")

    def symbolic(name, aval):
        shape = [n if isinstance(n, int) else {"B": batch, "R": rows}[str(n)] for n in aval.shape]
        return jax.ShapeDtypeStruct(shape, aval.dtype)

    arguments = [{name: symbolic(name, aval) for name, aval in part.items()} for part in read]
    skipped = [jax_export.DisabledSafetyCheck.custom_call("system")]
    made = jax_export.export(jax.jit(called), platforms=["cpu"], disabled_checks=skipped)
    exported = made(*arguments).serialize()
    (folder / PROGRAM).write_bytes(exported)
    sealed(folder)
    with pytest.raises(UserError, match=r"calls functions of the machine \(system\)"):
        export.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"{path.name} has changed .*export the run again"):
        export.load(folder)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing"):
        export.load(folder)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 4000), (40, None)])
def test_a_damaged_program_is_refused(folder, start, stop):
    (folder / PROGRAM).write_bytes((folder / PROGRAM).read_bytes()[start:stop])
    sealed(folder)
    with pytest.raises(UserError, match=r"can't be read .*by JAX.*dtn-jax export --again"):
        export.load(folder)


def weights_with(folder, **changes):
    """The weights, some of them gone (None) or others."""
    weights = load_file(folder / WEIGHTS)
    for name, change in changes.items():
        found = weights.pop(f"params/{name}")
        if change is not None:
            weights[f"params/{name}"] = change(found)
    save_file(weights, folder / WEIGHTS)


def with_header(folder, size):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", size) + data[8:])


def schema_with(folder, old, new):
    path = folder / "schema.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: weights_with(f, tower=None), "damaged .it lacks 'params/tower'"),
        (lambda f: with_header(f, 2**63), f"{WEIGHTS} is missing or damaged"),
        (lambda f: with_header(f, 0), f"{WEIGHTS} is missing or damaged"),
        (lambda f: schema_with(f, "list of text", "list!of text"), "damaged .*'list!of text'"),
    ],
)
def test_what_does_not_go_together_is_told(folder, change, told):
    change(folder)
    sealed(folder)
    with pytest.raises(UserError, match=told):
        export.load(folder)


@pytest.mark.parametrize("change", [lambda w: w[:2], lambda w: w.astype("i4")])
def test_weights_of_other_shapes_or_types_are_refused(folder, change):
    weights_with(folder, tower=change)
    sealed(folder)
    with pytest.raises(UserError, match="can't be run"):
        export.load(folder).score(FRAME)


def test_a_folder_without_a_model(folder):
    with pytest.raises(UserError, match="holds no model"):
        export.load(folder / "encoders")
