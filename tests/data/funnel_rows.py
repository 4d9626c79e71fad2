"""Rows of a small synthetic funnel."""

import numpy as np
import pytest

from dtn_jax.datasets.synthetic import funnel

SPACES = ["click@all", "cart@all", "cart@click", "order@all", "order@click", "order@cart"]


@pytest.fixture(scope="module")
def spec():
    return funnel.FunnelSpec(rows=200_000, ids=20_000, seed=3)


@pytest.fixture(scope="module")
def data(spec):
    return funnel.rows(spec, 0, spec.rows)


def logits(spec, ids):
    p = funnel.probabilities(spec, ids)
    return np.log(p / (1 - p))
