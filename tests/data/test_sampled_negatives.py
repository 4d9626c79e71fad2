"""Negative down-sampling: fewer train rows, with weights that make up for the others."""

import numpy as np
import polars as pl
from world.log import prepared, rows

from dtn_jax.data.epochs.reader import SplitReader

TEXT = """
name: shop
fields: {item: }
tasks: {click: , order: {upstream: [click]}}
split: {by: random, validation: 0.1, test: 0.1}
"""
FRAME = rows(6000, seed=3)


def labels(shop, split):
    found = SplitReader(shop, split).everything()
    return found.labels, found.sample_weight


def test_positives_stay_and_a_share_of_negatives(tmp_path):
    text = f"{TEXT}sample_negatives: {{click: 0.2}}\n"
    whole = prepared(tmp_path / "whole", FRAME, TEXT)
    sampled = prepared(tmp_path / "sampled", FRAME, text)
    before, _ = labels(whole, "train")
    after, weight = labels(sampled, "train")
    assert (after[:, 0] == 1).sum() == (before[:, 0] == 1).sum()
    negatives = (before[:, 0] == 0).sum()
    assert abs((after[:, 0] == 0).sum() / negatives - 0.2) < 0.03
    np.testing.assert_allclose(weight, np.where(after[:, 0] == 0, 5, 1))
    for task in range(2):
        rate = (after[:, task] * weight).sum() / weight.sum()
        assert abs(rate - before[:, task].mean()) < 0.02
    for split in ("validation", "test"):
        assert sampled.rows[split] == whole.rows[split]
        assert (labels(sampled, split)[1] == 1).all()
    assert sampled.notes["sample_negatives"] == {"click": 0.2}


def test_a_row_stays_for_the_task_that_wants_it_most(tmp_path):
    text = f"{TEXT}sample_negatives: {{click: 0.1, order: 0.5}}\n"
    after, weight = labels(prepared(tmp_path, FRAME, text), "train")
    expected = np.where(after[:, 0] == 1, 1, 2)  # no click: kept for order's half
    np.testing.assert_allclose(weight, expected)


def test_a_weight_column_is_multiplied(tmp_path):
    frame = FRAME.with_columns(w=pl.int_range(6000) % 3 + 1)
    text = f"{TEXT}sample_negatives: {{click: 0.2}}\nweight: w\n"
    after, weight = labels(prepared(tmp_path, frame, text), "train")
    factor = np.where(after[:, 0] == 0, 5, 1)
    assert set((weight / factor).round(4)) == {1, 2, 3}
