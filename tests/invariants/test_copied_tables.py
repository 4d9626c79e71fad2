"""A table that is short beside a device's ids lies whole on every device."""

import chex
import jax
import numpy as np
import pytest
from toy_steps import batches, build, config, leaves

from dtn_jax.parallel.mesh import make_placement, share_tables
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_chunk, make_train_step

STEPS, BATCH = 4, 32
MODEL = {
    "model__architecture": "mmoe",
    "model__experts": "mlp+hcnet",
    "model__hcnet__codebook_rows": 50,
    "model__hcnet__hashes": 64,  # of three pairs: 192 codewords an example
    "optim__eps": 1e-4,
    "optim__table_l2": 1e-3,
    "data__batch_size": BATCH,
    "data__eval_batch_size": BATCH,
}


def trained(devices, steps=STEPS, bad=None, **changes):
    """The plan, and state and metrics after steps, of which `bad` has a label that is no number."""
    c = config(**MODEL, parallel__devices=devices, **changes)
    model, plan = build(c)
    plan, at = share_tables(plan, make_placement(c), BATCH)
    state = create_state(c, model, plan)
    state = jax.device_put(state, at.state(state))
    step = make_train_step(c, model, plan, 100, at.table_mesh)
    drawn = [batches(STEPS, seed) for seed in (0, 1)]
    chunk = jax.tree.map(lambda *a: np.concatenate(a, axis=1), *drawn)
    if bad is not None:
        chunk.labels[bad, 3, 0] = np.nan
    chunk = at.put(chunk, at.chunk())
    train_chunk = make_train_chunk(step, STEPS, stops=bad is None)
    state, metrics = at.compile(train_chunk, state)(state, chunk, steps)
    return plan, state, metrics


@pytest.mark.parametrize(
    ("tables", "platform"),
    [
        ("adam", "cpu"),
        pytest.param("dense", "cpu", marks=pytest.mark.nightly),
        pytest.param("adam", "tpu", marks=pytest.mark.nightly),
        pytest.param("dense", "tpu", marks=pytest.mark.nightly),
    ],
)
def test_a_copied_codebook_gives_one_devices_numbers(tables, platform):
    with jax.enable_x64(True):
        given = {"model__dtype": "float64", "optim__tables": tables}
        plan, one, _ = trained(1, **given)
        assert not plan.everywhere
        given["parallel__table_platform"] = platform
        shared, many, metrics = trained(2, **given)
        assert shared.everywhere == {"codebook"}
        for a, b in zip(leaves(one, plan), leaves(many, shared), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    assert "exchange/embedding" in metrics
    assert "exchange/codebook" not in metrics  # nothing travels
    for array in jax.tree.leaves((many.tables["codebook"], many.slots["codebook"])):
        assert array.is_fully_replicated
        a, b = (np.asarray(shard.data) for shard in array.addressable_shards)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("devices", "strategy", "tables"),
    [
        # The embedding travels, the codebook is copied.
        pytest.param(2, "shard", "adam", marks=pytest.mark.slow),
        *(
            pytest.param(*given, marks=pytest.mark.nightly)
            for given in ((4, "shard", "adam"), (2, "shard", "dense"), (2, "pmap", "adam"))
        ),
    ],
)
def test_a_skipped_step_changes_nothing_on_any_device(devices, strategy, tables):
    given = {"parallel__strategy": strategy, "optim__tables": tables, "train__skip_nonfinite": 1}
    _, before, _ = trained(devices, 2, bad=2, **given)
    plan, after, _ = trained(devices, 3, bad=2, **given)
    assert plan.everywhere == ({"codebook"} if strategy == "shard" else set())
    assert int(after.step) == 3
    before, after = (s.replace(key=None, step=None) for s in (before, after))
    chex.assert_trees_all_equal(before, after)
