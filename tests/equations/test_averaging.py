"""A moving average of the dense parameters: against its equation, in every way to train."""

import jax
import numpy as np
import pytest
from toy_steps import batches, build, config, first_state, leaves, placed_run, run

from dtn_jax.run.step import make_train_step

pytestmark = pytest.mark.usefixtures("quick_to_compile")

DECAY = 0.7


def exact(**changes):
    model = {"architecture": "shared_bottom", "dtype": "float64", "dropout": 0.2}
    own = {f"model__{name}": value for name, value in model.items()}
    return config(optim__eps=1e-4, **own, **changes)


def assert_near(one, other, **within):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **within), one, other)


def states(c, chunk):
    """The state and losses after each of a chunk's steps."""
    model, plan = build(c)
    step = jax.jit(make_train_step(c, model, plan, 10))
    state = first_state(c, model, plan)
    for i in range(len(chunk.row_mask)):
        state, metrics = step(state, jax.tree.map(lambda a, i=i: a[i], chunk))
        yield state, metrics["losses"]


def test_it_is_the_weighted_mean_of_all_steps(float64):
    """And what is trained is as without it: dense parameters, tables, statistics, losses."""
    given, sums = {"model__normalisation": "batch"}, 0.0
    averaged = states(exact(train__average=DECAY, **given), batches(6))
    for t, (state, losses), (plain, others) in zip(
        range(1, 7), averaged, states(exact(**given), batches(6)), strict=True
    ):
        assert_near(state.iterate["params"], plain.params, rtol=1e-12)
        assert_near(leaves(state.to_train()), leaves(plain), rtol=1e-12)
        assert_near((state.opt_state, losses), (plain.opt_state, others), rtol=1e-12)
        # The sum of (1 - d) d^(t - i) p_i, and of its weights: written out, not as the step has it.
        last = np.concatenate([np.ravel(p) for p in jax.tree.leaves(plain.params)])
        sums, total = DECAY * sums + (1 - DECAY) * last, 1 - DECAY**t
        average = np.concatenate([np.ravel(p) for p in jax.tree.leaves(state.params)])
        np.testing.assert_allclose(average, sums / total, rtol=1e-10, atol=1e-12)
        assert float(state.iterate["weight"]) == pytest.approx(total, rel=1e-12)
        assert (np.abs(average - last).max() > 1e-5) == (t > 1)  # the first step is itself


@pytest.mark.parametrize(
    "way",
    [
        {"parallel__devices": 8},
        pytest.param(
            {"parallel__devices": 8, "parallel__strategy": "pmap"}, marks=pytest.mark.slow
        ),
        pytest.param({"parallel__devices": 8, "train__accumulate": 2}, marks=pytest.mark.slow),
    ],
)
def test_devices_and_parts_have_the_average_of_one_device(float64, way):
    expected, _ = run(exact(train__average=DECAY))
    state, _ = placed_run(exact(train__average=DECAY, **way), batches())
    for part in ("params", "iterate"):
        assert_near(getattr(state, part), getattr(expected, part), rtol=1e-9, atol=1e-10)
