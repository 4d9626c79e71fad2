"""Prepares the twin of a public set, and reads it."""

import functools

import numpy as np
import pytest
import twins
from world import log

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepare import prepare
from dtn_jax.data.sets import catalog, census_income, data_set


def load(tmp_path, name, options="", raw="raw"):
    """The prepared set of the raw files in `tmp_path/raw`; without a name, of none of the user's.

    In one process, since others take seconds to start.
    """
    raw = str(tmp_path / raw) if raw else ""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DTN_MANUAL_DIR", raising=False)
        patch.setattr(census_income, "OFFICIAL", twins.census_official())
        patch.setattr(data_set, "prepare", functools.partial(prepare, processes=1))
        return catalog.load(name, options, str(tmp_path / "data"), raw)


def column(prepared, split, field):
    """The ids of a field with one value a row, or all slots: int32 `[B]` or `[B, S]`."""
    ids = SplitReader(prepared, split).everything().ids[:, log.slots(prepared, field)]
    return ids if ids.shape[1] > 1 else ids[:, 0]


def labels(prepared, split):
    """float32 `[B, T]`."""
    batch = SplitReader(prepared, split).everything()
    assert np.asarray(batch.label_mask)[: prepared.rows[split]].all()
    return np.asarray(batch.labels)[: prepared.rows[split]]


def same_values(ids, values):
    """Whether equal ids stand for equal values and the other way round, but for id 0."""
    pairs = {(i, v) for i, v in zip(ids.tolist(), values, strict=True) if i}
    return len(pairs) == len({i for i, _ in pairs}) == len({v for _, v in pairs})
