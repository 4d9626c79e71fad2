"""Vocabularies in files: rows by frequency, look-ups, and what a damaged one says."""

import numpy as np
import pytest

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import vocabulary_file
from dtn_jax.errors import UserError


def written(folder, values, counts):
    """A vocabulary of whole numbers."""
    made = keys.number_keys(np.asarray(values, np.int64))
    order = np.argsort(made)
    path = folder / "vocabulary" / "item.arrow"
    path.parent.mkdir(exist_ok=True)
    vocabulary_file.write(path, made[order], np.asarray(counts, np.int64)[order])
    return path


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 9, 1000, 40_000])
def test_every_value_is_found_and_no_other(tmp_path, size):
    rng = np.random.default_rng(size)
    values = rng.choice(10**6, size, replace=False)
    counts = rng.integers(1, 5, size)
    opened = vocabulary_file.load(written(tmp_path, values, counts))
    rows = opened.look_up(keys.number_keys(values.astype(np.int64)))
    assert sorted(rows) == list(range(1, size + 1))
    in_order = counts[np.argsort(rows)]
    assert (np.diff(in_order) <= 0).all()  # most frequent first
    others = np.setdiff1d(np.arange(10**6), values)[:5000].astype(np.int64)
    assert (opened.look_up(keys.number_keys(others)) == 0).all()


def test_of_equally_frequent_values_the_smaller_key_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary_file, "CHUNK", 7)  # the ranks go on from chunk to chunk
    counts = np.random.default_rng(0).integers(1, 4, 100)
    opened = vocabulary_file.load(written(tmp_path, np.arange(100), counts))
    made = keys.number_keys(np.arange(100))
    order = np.lexsort((made, -counts))
    np.testing.assert_array_equal(opened.look_up(made)[order], np.arange(1, 101))


def test_keys_that_share_their_first_bits_are_found(tmp_path):
    """As the worst hash would give them: a look-up then takes more steps, and is still right."""
    made = np.sort(np.arange(1000, dtype=np.uint64) * np.uint64(3) + np.uint64(2**63))
    path = tmp_path / "vocabulary" / "item.arrow"
    path.parent.mkdir()
    vocabulary_file.write(path, made, np.ones(1000, np.int64))
    opened = vocabulary_file.load(path)
    np.testing.assert_array_equal(opened.look_up(made), np.arange(1, 1001))
    assert (opened.look_up(made + np.uint64(1)) == 0).all()


@pytest.mark.parametrize("left", [0, 10, 1000])
def test_a_cut_vocabulary_is_told(tmp_path, left):
    path = written(tmp_path, np.arange(1000), np.ones(1000))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"item\.arrow is missing or damaged"):
        vocabulary_file.load(path)
