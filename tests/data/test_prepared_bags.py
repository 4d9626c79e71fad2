"""Bags of a prepared set are those of its frames."""

import collections
import functools
import json
import pathlib

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.preparation import prepared, progress
from dtn_jax.datasets.preparation.bags import Bag
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.checks import check_frame
from dtn_jax.datasets.preparation.vocabulary import Vocabulary
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader
from dtn_jax.schema import Task

ENCODERS = {
    "user": Vocabulary(),
    "tags": Bag(max_values=3, min_count=2, weights="strength"),
    "words": Bag(max_values=2, pooling="max"),
}


class Shelf(BlockBuilder, skip_registration=True):
    """A small set with a weighted bag and a plain one."""

    def __init__(self, frame, **kwargs):
        self.frame = frame
        super().__init__(**kwargs)

    def encoders(self):
        return ENCODERS

    def tasks(self):
        return (Task("click"),)

    def layout(self):
        return Layout(lanes=2, block_rows=8)

    def raw(self, dl_manager):
        splits = {
            "train": self.frame[:50],
            "validation": self.frame[50:60],
            "test": self.frame[60:],
        }
        return {s: functools.partial(iter, [f[:7], f[7:]]) for s, f in splits.items()}


def shelf(seed=0, rows=80):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 6, rows)
    return pl.DataFrame(
        {
            "user": rng.integers(0, 9, rows),
            "tags": [rng.integers(0, 30, n).tolist() for n in sizes],
            "strength": [rng.normal(size=n).tolist() for n in sizes],
            "words": pl.Series(
                [[str(w) for w in rng.integers(0, 9, n)] or None for n in rng.integers(0, 3, rows)]
            ),
            "click": rng.integers(0, 2, rows),
        }
    )


def test_prepared_bags_are_those_of_the_frames(tmp_path, capsys):
    frame = shelf()
    builder = Shelf(frame, data_dir=str(tmp_path))
    builder.download_and_prepare()
    data = prepared.read(pathlib.Path(builder.data_dir))
    assert [(f.kind, f.slots, f.weighted) for f in data.schema.fields] == [
        ("categorical", 1, False),
        ("bag", 3, True),
        ("bag", 2, False),
    ]
    assert data.schema.weighted_slots == 3
    fitted, start = data.encoders(), 0
    counts = collections.Counter(t for row in frame[:50]["tags"] for t in row[:3])
    assert set(fitted["tags"].values) == {str(t) for t, n in counts.items() if n >= 2}
    for split, rows in data.rows.items():
        got = SplitReader(data, split).everything()
        assert got.ids.shape == (rows, 6)
        assert got.weights.shape == (rows, 3)
        unknown = cut = 0
        for i, row in enumerate(frame[start : start + rows].iter_rows(named=True)):
            known = [fitted["tags"].values.index(str(t)) + 1 if str(t) in fitted["tags"].values
                     else 0 for t in row["tags"][:3]]  # fmt: skip
            assert got.ids[i, 1:4].tolist() == known + [-1] * (3 - len(known))
            kept = row["strength"][:3]
            np.testing.assert_array_equal(got.weights[i], np.float32(kept + [0] * (3 - len(kept))))
            unknown += known.count(0)
            cut += max(len(row["tags"]) - 3, 0)
        facts = json.loads((data.folder / "prepared.json").read_text())
        assert facts["unknown_values"][split]["tags"] == unknown
        assert facts["cut_values"][split] == {"tags": cut, "words": 0}
        assert cut > 0
        start += rows
    shown, train = capsys.readouterr().out, SplitReader(data, "train").everything().ids
    share = progress.percent(int((train == 0).sum()), int((train >= 0).sum()))
    assert f"missing, or not seen in train): {share} of train" in shown
    assert "values beyond the slots of their bag: " in shown
    # ids, weights, label, sample weight and group; the masks of label and row.
    assert data.row_bytes() == 4 * (6 + 3 + 1 + 2) + 2


def test_shares_are_those_of_the_values_of_bags():
    text = progress.summary(
        "s", {"train": 10}, {"train": {"tags": 30}}, {}, {"train": 120}, {"train": {"tags": 40}}
    )
    assert "missing, or not seen in train): 25.0 % of train" in text
    assert text.endswith("values beyond the slots of their bag: 25.0 % of train")
    nothing = progress.summary("s", {"train": 1}, {"train": {"tags": 0}}, {}, {"train": 0})
    assert nothing.endswith("0 % of train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": [1, 2]}, "column 'tags' must hold lists, got Int64"),
        ({"strength": None}, "column 'strength' is missing"),
        ({"strength": [["x"], []]}, "column 'strength' must hold lists of numbers, got List"),
        ({"strength": [[1.0], []]}, r"weights 'strength' is .* in row 101 .* for each value of"),
        ({"strength": [[1.0, None], []]}, "weights 'strength' is .* in row 101"),
        ({"strength": [[1.0, float("inf")], []]}, "weights 'strength' is .* in row 101"),
    ],
)
def test_a_frame_whose_bags_are_not_as_they_must_be(change, message):
    good = {"tags": [[1, 2], None], "strength": [[1.0, 0.0], None], "click": [0, 1]}
    good |= {"words": [["a"], []], "user": [1, 2]}
    check_frame(pl.DataFrame(good), ENCODERS, (Task("click"),), "", "shop/train", 100)
    frame = pl.DataFrame({k: v for k, v in (good | change).items() if v is not None})
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        check_frame(frame, ENCODERS, (Task("click"),), "", "shop/train", 100)
