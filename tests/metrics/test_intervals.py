"""Intervals of rates."""

import numpy as np

from dtn_jax.metrics.intervals import wilson


def test_wilson():
    # n = 10, p = 0, z = 2: centre 4/20 / (1 + 4/10) = 1/7, half width the same: [0, 2/7]
    # n = 4, p = 1/2, z = 2: centre (1/2 + 1/2) / 2 = 1/2; sqrt(1/16 + 4/64) 2 / 2 = 1/sqrt(8)
    low, high = wilson(np.array([0.0, 0.5]), np.array([10, 4]), z=2.0)
    np.testing.assert_allclose(low, [0, 0.5 - 8**-0.5], atol=1e-15)
    np.testing.assert_allclose(high, [2 / 7, 0.5 + 8**-0.5])
