"""Prepares the twin of a public set, reads it, and trains on it for some steps."""

import functools

import numpy as np
import pytest
import twins
from world import log

from configs import base
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepare import prepare
from dtn_jax.data.sets import catalog, census_income, data_set
from dtn_jax.train import train


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


def trained(tmp_path, name, options="", **changes):
    """The results of a small model after a few steps, on the twin."""
    config = base.get_config()
    config.data.dataset, config.data.options = name, options
    config.data.data_dir, config.data.manual_dir = str(tmp_path / "data"), str(tmp_path / "raw")
    config.data.batch_size = 64
    config.model.architecture, config.model.experts = "shared_bottom", "mlp"
    config.model.embedding_dim, config.model.expert_dim = 4, 8
    config.model.mlp.hidden = config.model.tower_hidden = (8,)
    config.train.max_steps, config.parallel.devices = 3, 1
    config.update_from_flattened_dict(changes)
    return train(config, str(tmp_path / "run"))
