"""Eight devices give one device's numbers, and none of them holds a whole table."""

import jax
import numpy as np
import pytest
from test_step import SCHEMA, batches, build, config, leaves

from dtn_jax.schema import UserError
from dtn_jax.sharding import make_placement
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step


def run_on(devices, **changes):
    c = config(parallel__devices=devices, optim__eps=1e-4, **changes)
    model, plan = build(c)
    at = make_placement(c)
    state = create_state(c, model, plan)
    state = jax.device_put(state, at.state(state))
    chunk = jax.device_put(batches(), at.chunk())
    step = make_train_step(c, model, plan, 10)
    state, metrics = jax.jit(make_train_chunk(step, 4), donate_argnums=0)(state, chunk, 4)
    return state, np.asarray(metrics["losses"])


@pytest.mark.parametrize("tables", ["adam", "adagrad"])
def test_eight_devices_equal_one(tables):
    options = {
        "optim__tables": tables,
        "model__dropout": 0.2,
        "model__normalisation": "batch",
        "data__batch_size": 16,
        "data__eval_batch_size": 16,
    }
    (one, losses), (eight, losses8) = run_on(1, **options), run_on(8, **options)
    np.testing.assert_allclose(losses, losses8, rtol=1e-5)
    for a, b in zip(leaves(one), leaves(eight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    table = eight.tables["embedding"]
    rows = sum(f.rows for f in SCHEMA.fields)
    assert rows < table.shape[0] == 1024
    assert {s.data.shape[0] for s in table.addressable_shards} == {1024 // 8}
    for slot in jax.tree.leaves(eight.slots["embedding"]):
        assert {s.data.shape[0] for s in slot.addressable_shards} == {1024 // 8}


def test_what_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"batch_size=12 .* 8 devices; the nearest: 8 and 16"):
        make_placement(config(data__batch_size=12, parallel__devices=8))
    for devices in (9, 3):
        with pytest.raises(UserError, match=rf"devices={devices}: expected one of 1, 2, 4, 8 "):
            make_placement(config(parallel__devices=devices))
