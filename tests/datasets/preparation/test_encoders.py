"""Encoders: what they learn from train, and what becomes of every other value."""

import json
import pathlib
import subprocess
import sys
import zlib

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.encoders import (
    Hashing,
    Identity,
    QuantileBuckets,
    Standardise,
    Vocabulary,
)
from dtn_jax.errors import UserError


def fit(encoder, *columns, dtype=None):
    """The encoder fitted on these chunks of one column."""
    frames = [pl.DataFrame({"x": pl.Series(c, dtype=dtype, strict=False)}) for c in columns]
    return enc.fit({"x": encoder}, frames)["x"]


def encode(encoder, values, dtype=None):
    rows = encoder.encode(pl.Series(values, dtype=dtype, strict=False))
    assert rows.dtype == np.int32
    assert rows.shape == (len(values),)
    assert ((rows >= 0) & (rows < encoder.rows)).all()
    return rows.tolist()


# --- vocabularies --------------------------------------------------------------------------------


def test_a_vocabulary_is_ordered_by_falling_count_then_by_value():
    fitted = fit(Vocabulary(), list("bbaacccdb"))
    assert fitted.values == ("b", "c", "a", "d")
    assert fitted.rows == 5
    assert encode(fitted, list("abcd")) == [3, 1, 2, 4]


def test_unknown_missing_and_unseen_values_get_row_0():
    fitted = fit(Vocabulary(unknown=("?", "n/a")), ["a", "?", "?", "?", None, "n/a", "b", "a"])
    assert fitted.values == ("a", "b")
    assert encode(fitted, ["?", None, "c", "n/a", "A", "b", "a"]) == [0, 0, 0, 0, 0, 2, 1]


def test_rare_values_are_unknown():
    fitted = fit(Vocabulary(min_count=2), list("aaabbc"))
    assert fitted.values == ("a", "b")
    assert encode(fitted, list("abc")) == [1, 2, 0]


def test_a_vocabulary_takes_numbers_and_categoricals_by_their_text():
    numbers = fit(Vocabulary(), [7, 7, 10], dtype=pl.Int64)
    assert numbers.values == ("7", "10")
    assert encode(numbers, ["10", "7"]) == encode(numbers, [10, 7], pl.UInt8) == [2, 1]
    texts = fit(Vocabulary(), ["u", "v", "v"], ["w", "w", "w"], dtype=pl.Categorical)
    assert texts.values == ("w", "v", "u")
    assert encode(texts, ["u", None, "w"], pl.Categorical) == [3, 0, 1]


def test_a_vocabulary_of_nothing_has_row_0_alone():
    fitted = fit(Vocabulary(unknown=("?",)), [None, "?"], dtype=pl.String)
    assert fitted.rows == 1
    assert encode(fitted, ["a", None]) == [0, 0]
    assert encode(fitted, [None, None], pl.Null) == [0, 0]


# --- hashing and identity ------------------------------------------------------------------------


def test_hashes_are_those_of_crc_32_forever():
    # The published check value of CRC-32 is that of "123456789": 0xCBF43926.
    encoder = Hashing(buckets=1024)
    assert encode(encoder, ["123456789"]) == [1 + (0xCBF43926 & 1023)] == [295]
    assert encode(encoder, [123456789]) == [295]
    assert encode(Hashing(buckets=10), ["123456789"]) == [1 + 3_421_780_262 % 10]
    # Umlauts are hashed in UTF-8; equal texts meet, in whatever company.
    [row] = encode(encoder, ["é"])
    assert row == 1 + zlib.crc32(b"\xc3\xa9") % 1024
    assert encode(encoder, ["é", "123456789", "é"]) == [row, 295, row]


def test_hashing_keeps_row_0_for_the_unknown():
    encoder = Hashing(buckets=4, unknown=("?",))
    assert encode(encoder, ["?", None]) == [0, 0]
    rows = encode(encoder, [f"value {i}" for i in range(400)])
    assert min(rows) == 1
    assert (np.bincount(rows, minlength=5)[1:] > 60).all()


def test_hashing_and_identity_need_no_fitting():
    def frames():
        raise AssertionError("the train rows were read")
        yield

    encoders = {"h": Hashing(), "i": Identity(3)}
    assert enc.fit(encoders, frames()) == encoders


def test_identity_lets_rows_of_its_table_through():
    encoder = Identity(5)
    assert encoder.rows == 6
    assert encode(encoder, [1, 5, 6, 0, -1, None, 2**40]) == [1, 5, 0, 0, 0, 0, 0]
    assert encode(encoder, [None], pl.Null) == [0]


# --- quantile buckets ----------------------------------------------------------------------------


def test_a_dominating_value_has_a_bucket_of_its_own():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(20_000) < 0.9, 0.0, rng.lognormal(5, 2, 20_000))
    fitted = fit(QuantileBuckets(buckets=8), values)
    assert fitted.dominating == (0.0,)
    assert fitted.rows == 1 + 1 + 8
    rows = np.array(encode(fitted, values))
    assert ((rows == 1) == (values == 0)).all()
    # The others fill their buckets evenly: 2,000 in 8.
    counts = np.bincount(rows, minlength=10)[2:]
    assert counts.sum() == (values != 0).sum()
    assert counts.max() - counts.min() <= 2


def test_buckets_are_evenly_filled_and_ordered():
    values = np.random.default_rng(1).normal(size=3_200)
    fitted = fit(QuantileBuckets(buckets=32), values)
    assert fitted.dominating == ()
    rows = np.array(encode(fitted, np.sort(values)))
    assert (np.diff(rows) >= 0).all()
    assert np.bincount(rows).tolist() == [0] + [100] * 32


def test_repeated_values_never_straddle_an_edge():
    values = np.random.default_rng(2).poisson(60, 20_000).astype(float)
    fitted = fit(QuantileBuckets(buckets=16), values)
    rows = np.array(encode(fitted, values))
    for value in np.unique(values):
        assert len(set(rows[values == value])) == 1
    share = np.bincount(rows)[1:] / len(values)
    assert share.max() < 1 / 16 + 0.052  # a bucket and one value, not quite dominating


def test_few_distinct_values_each_have_a_bucket():
    values = [v for v, n in {3: 500, 5: 1, 6: 300, 9: 2, 11: 30, 12: 1}.items() for _ in range(n)]
    fitted = fit(QuantileBuckets(buckets=8), values)
    assert fitted.dominating == (3.0, 6.0)
    assert len(set(encode(fitted, [3, 5, 6, 9, 11, 12]))) == 6
    assert encode(fitted, [5, 9, 11, 12]) == [3, 4, 5, 6]
    # As many as there are buckets, all rare: still one each.
    values = np.repeat(np.arange(30), np.r_[1, [100] * 29])
    assert len(set(encode(fit(QuantileBuckets(buckets=30), values), np.arange(30)))) == 30


def test_values_beyond_the_fitted_range_fall_into_the_outer_buckets():
    fitted = fit(QuantileBuckets(buckets=4), np.arange(100.0))
    low, high = encode(fitted, [0.0, 99.0])
    assert (low, high) == (1, 4)
    assert encode(fitted, [-1e300, -1.0, 100.0, 1e300]) == [low, low, high, high]


def test_values_between_two_seen_ones_go_to_the_nearer_side():
    fitted = fit(QuantileBuckets(buckets=2), [1.0] * 3 + [2.0] * 3 + [10.0] * 3 + [11.0] * 3)
    # All four dominate here; make them rare to get edges.
    assert fitted.dominating == (1.0, 2.0, 10.0, 11.0)
    values = np.repeat(np.r_[np.arange(50.0), np.arange(150.0, 200.0)], 3)
    fitted = fit(QuantileBuckets(buckets=2), values)
    assert fitted.edges == (99.5,)
    assert encode(fitted, [49.0, 99.0, 99.5, 150.0]) == [1, 1, 2, 2]


def test_missing_numbers_get_row_0():
    fitted = fit(QuantileBuckets(buckets=4), [None, float("nan"), *range(50), float("inf")])
    assert all(np.isfinite([*fitted.edges, *fitted.dominating]))
    assert encode(fitted, [None, float("nan"), float("inf"), 0.0]) == [0, 0, 0, 1]
    # The many that are missing have no say in what dominates.
    assert fit(QuantileBuckets(), [None] * 980 + [7.0] * 20).dominating == (7.0,)


def test_a_constant_column():
    fitted = fit(QuantileBuckets(), [4] * 10)
    assert (fitted.dominating, fitted.edges, fitted.rows) == ((4.0,), (), 3)
    assert encode(fitted, [4, 3, 5, None]) == [1, 2, 2, 0]


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Null])
@pytest.mark.parametrize("encoder", [QuantileBuckets(), Standardise()])
def test_a_column_of_nothing(encoder, dtype):
    fitted = fit(encoder, [None, None], dtype=dtype)
    assert fitted.rows == 2
    assert encode(fitted, [None, 3.0, -1.0]) == [0, 1, 1]


def test_booleans_are_numbers():
    fitted = fit(QuantileBuckets(), [True, False, True])
    assert encode(fitted, [False, True]) == [1, 2]


# --- standardise ---------------------------------------------------------------------------------


def test_standardise():
    column = [2.0, 4.0, 4.0, None, 4.0, 5.0, float("nan"), 5.0, 7.0, 9.0]  # mean 5, deviation 2
    fitted = fit(Standardise(), column)
    assert fitted.mean == pytest.approx(5, abs=1e-12)
    assert fitted.deviation == pytest.approx(2, abs=1e-12)
    assert encode(fitted, [1.0, None, float("nan"), float("-inf")]) == [1, 0, 0, 0]
    values = fitted.values(pl.Series([9.0, 5.0, -1.0, None, float("nan"), float("inf")]))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [2, 0, -3, 1, 1, 1], atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1e-9, 3.3e7, 0.0])
def test_standardise_does_not_blow_up_a_constant(value):
    fitted = fit(Standardise(), [value] * 7)
    assert (fitted.mean, fitted.deviation) == (value, 1.0)
    np.testing.assert_array_equal(fitted.values(pl.Series([value, value + 1])), [0, 1])


# --- fitting -------------------------------------------------------------------------------------

ENCODERS = {
    "text": Vocabulary(min_count=3, unknown=("?",)),
    "code": Vocabulary(),
    "hashed": Hashing(buckets=50),
    "amount": QuantileBuckets(buckets=8),
    "price": Standardise(),
    "id": Identity(9),
}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    texts = np.array(["?", "a", "b", "c", "d"])[np.minimum(rng.geometric(0.4, 3_000) - 1, 4)]
    amount = np.where(rng.random(3_000) < 0.5, 0, rng.integers(1, 400, 3_000)).astype(float)
    amount[rng.random(3_000) < 0.1] = np.nan
    return pl.DataFrame(
        {
            "text": pl.Series(texts).set(pl.Series(rng.random(3_000) < 0.1), None),
            "code": rng.integers(0, 40, 3_000),
            "hashed": texts,
            "amount": amount,
            "price": pl.Series(rng.normal(3, 2, 3_000)).set(pl.Series(amount == 0), None),
            "id": rng.integers(0, 12, 3_000),
        }
    )


@pytest.mark.parametrize("size", [1, 7, 1_000, 2_999])
def test_fitting_does_not_depend_on_the_chunks(frame, size):
    if size == 1:
        frame = frame[:60]
    whole = enc.fit(ENCODERS, [frame])
    parts = enc.fit(ENCODERS, frame.iter_slices(size))
    price, cut = whole.pop("price"), parts.pop("price")
    assert parts == whole
    # Sums of floats, the values sorted, so the same to the bit too.
    assert cut == price


def test_chunks_of_one_column_may_differ_in_type():
    chunks = [
        pl.DataFrame({"n": [None, None], "t": [None, None]}),
        pl.DataFrame({"n": [1, 2], "t": ["a", "b"]}),
        pl.DataFrame({"n": [1.0, None], "t": pl.Series(["b", "c"], dtype=pl.Categorical)}),
    ]
    fitted = enc.fit({"n": QuantileBuckets(), "t": Vocabulary()}, chunks)
    assert fitted["n"].dominating == (1.0, 2.0)
    assert fitted["t"].values == ("b", "a", "c")


def test_fitting_reads_nothing_but_what_it_is_given(frame):
    fitted = enc.fit(ENCODERS, [frame[:1_000]])
    before = enc.to_json(fitted)
    for name, encoder in fitted.items():
        encoder.encode(frame[name])
    assert enc.to_json(fitted) == before
    assert enc.fit(ENCODERS, [frame]) != fitted


def test_no_train_rows_at_all():
    with pytest.raises(UserError, match="the train split is empty"):
        enc.fit({"x": Vocabulary()}, [])


def test_thinning_stays_close(monkeypatch):
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(size=36_000), np.zeros(4_000)])
    rng.shuffle(values)
    column = pl.Series(values).set(pl.Series(rng.random(40_000) < 0.1), None)
    chunks = [column[i : i + 2_500] for i in range(0, 40_000, 2_500)]
    exact = fit(QuantileBuckets(buckets=10), *chunks)
    monkeypatch.setattr(enc, "MAX_DISTINCT", 3_000)
    sizes = []
    thin = enc._thin

    def spy(counts):
        after = thin(counts)
        sizes.append((len(counts), len(after)))
        assert after["count"].sum() == counts["count"].sum()
        return after

    monkeypatch.setattr(enc, "_thin", spy)
    thinned = fit(QuantileBuckets(buckets=10), *chunks)
    assert len(sizes) > 3
    assert max(before for before, _ in sizes) <= 3_000 + 2_500
    assert all(after == -(-before // 10) for before, after in sizes)
    # The dominating value is still itself, and no quantile moved by more than 1 %.
    assert thinned.dominating == exact.dominating == (0.0,)
    rank = np.searchsorted(np.sort(values), [exact.edges, thinned.edges]) / len(values)
    assert len(thinned.edges) == len(exact.edges) == 9
    np.testing.assert_allclose(rank[0], rank[1], atol=0.01)
    monkeypatch.setattr(enc, "MAX_DISTINCT", 1_000_000)
    moments = fit(Standardise(), *chunks)
    monkeypatch.setattr(enc, "MAX_DISTINCT", 3_000)
    near = fit(Standardise(), *chunks)
    assert near.mean == pytest.approx(moments.mean, abs=0.02)
    assert near.deviation == pytest.approx(moments.deviation, rel=0.02)


def test_texts_are_never_thinned(monkeypatch):
    monkeypatch.setattr(enc, "MAX_DISTINCT", 10)
    assert fit(Vocabulary(), [str(i) for i in range(100)]).rows == 101


# --- the schema's field, and JSON ----------------------------------------------------------------


def test_fields_of_the_schema(frame):
    fields = {n: enc.field(n, e) for n, e in enc.fit(ENCODERS, [frame]).items()}
    assert {n: f.kind for n, f in fields.items()} == {
        "text": "categorical",
        "code": "categorical",
        "hashed": "categorical",
        "amount": "numeric",
        "price": "numeric",
        "id": "categorical",
    }
    assert [n for n, f in fields.items() if f.standardised] == ["price"]
    assert fields["code"].rows == 41
    assert fields["hashed"].rows == 51
    assert fields["amount"].rows == 1 + 1 + 8
    assert (fields["price"].rows, fields["id"].rows) == (2, 10)


def test_json_round_trip_is_exact(frame):
    fitted = enc.fit(ENCODERS, [frame])
    text = enc.to_json(fitted)
    again = enc.from_json(text)
    assert again == fitted
    assert list(again) == list(fitted)
    assert enc.to_json(again) == text
    assert isinstance(again["text"].values, tuple)
    for name, encoder in again.items():
        np.testing.assert_array_equal(encoder.encode(frame[name]), fitted[name].encode(frame[name]))
    thirds = fit(QuantileBuckets(buckets=3), np.arange(100) / 3)
    assert enc.from_json(enc.to_json({"x": thirds}))["x"] == thirds


def test_unfitted_encoders_go_through_json_too():
    assert enc.from_json(enc.to_json(ENCODERS)) == ENCODERS


def test_json_of_an_unknown_encoder():
    text = json.dumps({"x": {"kind": "vocabularies"}})
    with pytest.raises(UserError, match="encoder of field 'x' 'vocabularies'"):
        enc.from_json(text)


def test_encoders_need_neither_pickle_nor_the_training_code():
    source = pathlib.Path(enc.__file__).read_text()
    assert "pickle" not in source
    # As a file of its own: its package's __init__ imports the builders, and so TFDS.
    program = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("encoders", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["encoders"] = module
spec.loader.exec_module(module)
print(*{"grain", "tensorflow_datasets", "orbax", "jax", "flax"} & set(sys.modules))
"""
    command = [sys.executable, "-c", program, enc.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_schema_and_encoders_are_light():
    """Scoring reuses them: they must not bring the training code, or what reads and saves it."""
    code = (
        "import sys, dtn_jax.schema, dtn_jax.datasets.preparation.encoders; "
        "print({'tensorflow_datasets', 'grain', 'orbax', 'jax', 'flax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
