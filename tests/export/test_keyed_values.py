"""Looked up by keys, a vocabulary gives the rows that it gives by texts."""

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.preparation.encoders import Vocabulary
from dtn_jax.export import keyed_values

LONG = 10**18 + 7
SEEN = {
    "texts": ["a", "b", "a", "", " a", "007", "7", "1.5", "true", "ä", None],
    "numbers": [1, 2, -3, 2**62, LONG, 0, None],
    "unsigned": pl.Series([1, 2**63 + 5, LONG], dtype=pl.UInt64),
    "floats": [1.0, 2.5, -0.0, 1e300, float("nan"), None],
    "truths": [True, False, None],
    "both": ["5", "5.0", "6.0"],
    "none": pl.Series([None], dtype=pl.String),
}
OTHERS = ["7", "7.0", "A", "1.50", "9", "x" * 50]


@pytest.mark.parametrize("name", SEEN)
def test_the_rows_are_those_of_the_texts(name):
    seen = pl.Series(SEEN[name])
    counts = seen.rename("value").value_counts(name="count")
    vocabulary = Vocabulary().fit(counts)
    made = keyed_values.keyed(vocabulary)
    assert made.by_key is not None
    texts = pl.concat([seen.cast(pl.String), pl.Series(OTHERS)])
    np.testing.assert_array_equal(made.rows(texts), vocabulary.encode(texts))
    np.testing.assert_array_equal(made.rows(seen), vocabulary.encode(seen))
    assert made.rows(seen.head(0)).shape == (0,)


def test_a_number_is_known_as_float_too():
    made = keyed_values.keyed(Vocabulary(values=("5", "7.0", "x")))
    assert made.rows(pl.Series([5.0, 7.0, None, 5.5])).tolist() == [1, 2, 0, 0]
    assert made.rows(pl.Series([5, 7, 8])).tolist() == [1, 2, 0]
    assert made.rows(pl.Series(["5", "7", "7.0"])).tolist() == [1, 2, 2]


def test_values_that_share_a_key_are_looked_up_by_text(monkeypatch):
    def same(column):
        return np.zeros(len(column), np.uint64), column.is_not_null().to_numpy()

    monkeypatch.setattr(keys, "keys", same)
    made = keyed_values.keyed(Vocabulary(values=("a", "b")))
    assert made.rows(pl.Series(["b", "a", None, "c"])).tolist() == [2, 1, 0, 0]
