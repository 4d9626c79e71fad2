"""Which numbers dropout drops."""

import jax
import numpy as np
import pytest

from dtn_jax.models.dropout import Dropout

RATE = 0.3


@pytest.mark.parametrize("shape", [(8,), (8, 5), (8, 5, 3), (8, 2, 5, 3)])
def test_each_number_has_the_draw_of_its_place_in_the_batch(shape):
    """In whatever form it is drawn: an old run resumes with the same draws."""
    x = jax.random.normal(jax.random.key(0), shape)
    rngs, module = {"dropout": jax.random.key(1)}, Dropout(RATE)
    found = module.apply({}, x, True, rngs=rngs)

    key = module.bind({}, rngs=rngs).make_rng("dropout")
    kept = jax.random.bernoulli(key, np.float32(1 - RATE), shape)
    np.testing.assert_array_equal(found, np.where(kept, x / np.float32(1 - RATE), 0))
    assert 0 < kept.mean() < 1
