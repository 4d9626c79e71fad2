"""Groups of rows: stored in row order, as numbers."""

import hashlib
import pathlib

import numpy as np
import polars as pl
import pytest
from shop import ENCODERS, TASKS, Shop, prepare

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import RULES
from dtn_jax.datasets.preparation.groups import check_group, group_numbers
from dtn_jax.datasets.preparation.prepared import read
from dtn_jax.errors import UserError


class Grouped(Shop, skip_registration=True):
    """The same set, its rows grouped by a column that is a field too."""

    group = "word"


def test_groups_are_stored_in_row_order(splits, tmp_path):
    splits["test"][0] = splits["test"][0].with_columns(pl.col("word").fill_null("nobody"))
    builder = Grouped(splits, data_dir=str(tmp_path))
    builder.download_and_prepare()
    data = read(pathlib.Path(builder.data_dir))
    assert data.schema.group == "word"
    numbers = {}
    for split, frames in splits.items():
        groups = data.groups(split)
        assert groups.dtype == np.int64
        for part in (slice(1, 2), slice(0, len(groups) - 1), slice(2, len(groups)), slice(3, 3)):
            np.testing.assert_array_equal(data.groups(split, part), groups[part])
        for word, number in zip(pl.concat(frames)["word"], groups, strict=True):
            assert numbers.setdefault(word, number) == number  # the same in every split and chunk
    assert len(set(numbers.values())) == len(numbers) == 6  # those that train lacks stay apart
    digest = hashlib.blake2b(b"a", digest_size=8).digest()  # fixed: prepared sets hold it
    assert numbers["a"] == int.from_bytes(digest, "little", signed=True) == 3405396810240292928


def test_sets_without_groups_are_as_they_were(splits, tmp_path):
    data = prepare(splits, tmp_path)
    assert data.groups("train") is None
    assert "group" not in data.source("train")[0]
    facts = (RULES, "1.0.0", enc.to_json(ENCODERS), TASKS, Layout(3, 4), "w")
    assert data.recipe == hashlib.sha256(repr(facts).encode()).hexdigest()
    assert Grouped(splits, data_dir=str(tmp_path / "grouped")).recipe() != data.recipe


@pytest.mark.parametrize(
    "column", [[3, -1, 3], [2**62 + 1, 2**62, 2**62 + 1], pl.Series([7, 0, 7], dtype=pl.UInt8)]
)
def test_whole_numbers_are_kept_as_groups(column):
    column = pl.Series("user", column)
    check_group(column.to_frame(), "user", "shop/train")
    np.testing.assert_array_equal(group_numbers(column), np.asarray(column.to_list(), np.int64))


def test_groups_of_texts_do_not_depend_on_the_chunk():
    column = pl.Series("user", ["ann", "Bob", "ann", ""])
    whole = group_numbers(column)
    assert whole[0] == whole[2]
    assert len(set(whole.tolist())) == 3
    np.testing.assert_array_equal(whole[1:3], group_numbers(column[1:3]))
    np.testing.assert_array_equal(whole, group_numbers(column.cast(pl.Categorical)))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"other": [1]}, "column 'user' is missing; the columns are: other"),
        ({"user": [1, None]}, r"group 'user' is None in row 102 .* expected a whole number"),
        ({"user": ["x", None]}, r"group 'user' is None in row 102"),
        ({"user": pl.Series([2**63], dtype=pl.UInt64)}, r"group 'user' is 9223372036854775808 in"),
        ({"user": [0.5]}, r"group 'user' has the type Float64; expected a whole number"),
    ],
)
def test_a_bad_group(column, message):
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        check_group(pl.DataFrame(column), "user", "shop/train", first_row=100)


def test_the_builder_checks_its_groups(splits, tmp_path):
    with pytest.raises(UserError, match="test: group 'word' is None in row 3"):
        Grouped(splits, data_dir=str(tmp_path)).download_and_prepare()
