"""Batches of rows that all count, with neither weights nor numbers, unless these are given."""

import numpy as np

from dtn_jax.interface import Batch


def batch_of(ids, labels, **given) -> Batch:
    rows = len(ids)
    usual = {
        "weights": np.zeros((rows, 0), np.float32),
        "numeric": np.zeros((rows, 0), np.float32),
        "label_mask": np.ones(labels.shape, bool),
        "sample_weight": np.ones(rows, np.float32),
        "row_mask": np.ones(rows, bool),
    }
    return Batch(ids=ids, labels=labels, **usual | given)
