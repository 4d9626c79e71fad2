"""Mean losses against the written-out sums, hand-computed numbers, and what must never leak; the
rows on which a task's loss is taken."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.base import get_config
from dtn_jax.errors import UserError
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import task_losses
from dtn_jax.losses.rows import row_weights
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Field, Schema, Task

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

SCHEMA = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(
        Task("click"),
        Task("order", space="click", also_report=("all",), upstream=("click",)),
        Task("seconds", kind="regression", space="click"),
        Task("stars", kind="regression"),
    ),
)
NAMES = SCHEMA.task_names


def batch(rows, seed=0):
    """Random logits, labels (NaN where unknown), masks and weights, as numpy arrays."""
    rng = np.random.default_rng(seed)
    labels = np.stack(
        [rng.random(rows) < 0.5, rng.random(rows) < 0.3, rng.normal(size=rows), rng.random(rows)],
        axis=1,
    ).astype(np.float64)
    label_mask = rng.random((rows, 4)) < 0.8
    labels[~label_mask] = np.nan
    return {
        "logits": {name: 2 * rng.normal(size=rows) for name in NAMES},
        "labels": labels,
        "label_mask": label_mask,
        "row_mask": rng.random(rows) < 0.9,
        "sample_weight": rng.random(rows) + 0.1,
    }


def run(data, **options):
    """{task: its loss}, with these options of the section `loss`."""
    return losses_and_slopes(data, tuple(options.items()))[0]


def slopes_of(data, **options):
    """The derivative of the losses' sum by each task's logits."""
    return losses_and_slopes(data, tuple(options.items()))[1]


@functools.partial(jax.jit, static_argnums=1)
def losses_and_slopes(data, options):
    logits, *rest = (data[name] for name in ("logits", "labels", "label_mask", "row_mask"))
    weights = row_weights(*rest, data["sample_weight"], SCHEMA)
    loss = get_config().loss
    loss.update(dict(options))
    chosen = read_losses(loss, SCHEMA)

    def losses(logits):
        found = task_losses(logits, data["labels"], weights, chosen)
        return sum(found), dict(zip(NAMES, found))

    slopes, found = jax.grad(losses, has_aux=True)(logits)
    return found, slopes


def row_by_row(data, positive_weights, smoothing=0.0):
    """The definition, one row at a time in Python floats."""
    result = {}
    for t, task in enumerate(SCHEMA.tasks):
        total = count = 0.0
        for i in range(len(data["labels"])):
            known, y = data["label_mask"][i], data["labels"][i]
            inside = task.space == "all" or (known[0] and y[0] == 1)
            if not (data["row_mask"][i] and known[t] and inside):
                continue
            z, weight = data["logits"][task.name][i], 1.0
            if data["sample_weight"] is not None:
                weight = data["sample_weight"][i]
            if task.kind == "binary":
                w = positive_weights.get(task.name, 1.0)
                p = w / (w + math.exp(-z))  # the logit is log w above z
                target = {0: smoothing / 2, 1: 1 - smoothing / 2}[y[t]]
                loss = -w * target * math.log(p) - (1 - target) * math.log(1 - p)
            else:
                loss = (z - y[t]) ** 2
            total, count = total + weight * loss, count + weight
        result[task.name] = total / count
    return result


@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (True, 0.2)])
def test_losses_are_the_written_out_means(weighted, smoothing):
    """Smoothed labels leave the rows of a space, known by a label of 1, as they are."""
    data = batch(64)
    if not weighted:
        data["sample_weight"] = None
    got = run(data, positive_weights="order=3.5", label_smoothing=smoothing)
    expected = row_by_row(data, {"order": 3.5}, smoothing)
    assert list(got) == list(NAMES)
    for name in NAMES:
        assert got[name].shape == ()
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_stable_for_large_logits_and_at_least_float32(dtype):
    data = batch(4)
    data["labels"][:, 0] = [1, 0, 1, 0]
    data["label_mask"][:, 0] = data["row_mask"][:] = True
    data["sample_weight"] = None
    data["logits"] = {name: np.array([1e4, -1e4, -1e4, 0], dtype) for name in NAMES}
    loss = run(data)["click"]
    assert loss.dtype == jnp.float32
    # 0 + 0 + 1e4 + ln 2 over 4 rows; 1e4 itself is rounded in bfloat16
    expected = (abs(float(data["logits"]["click"][2])) + math.log(2)) / 4
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_what_stands_in_masked_rows_reaches_neither_loss_nor_gradient():
    data = batch(64, seed=3)
    outside = ~data["row_mask"]
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = {**data, "logits": {}}
        for name in NAMES:
            mask = space_mask(name, data["labels"], data["label_mask"], data["row_mask"], SCHEMA)
            assert (~mask).any()
            spoilt["logits"][name] = np.where(mask, data["logits"][name], bad)
        spoilt["labels"] = np.where(data["label_mask"] & ~outside[:, None], data["labels"], bad)
        spoilt["sample_weight"] = np.where(outside, bad, data["sample_weight"])
        assert run(spoilt) == run(data)
        for name in NAMES:
            np.testing.assert_array_equal(slopes_of(spoilt)[name], slopes_of(data)[name])


def test_nan_in_a_counted_row_is_seen():
    data = batch(64)
    data["label_mask"][0, 0] = data["row_mask"][0] = True
    data["labels"][0, 0] = 1.0
    data["logits"]["click"][0] = np.nan
    assert np.isnan(run(data)["click"])


@pytest.mark.parametrize("how", ["no click", "click unknown", "padding", "weight 0"])
def test_empty_space_is_exactly_zero_with_zero_gradient(how):
    data = batch(64, seed=4)
    if how == "no click":
        data["labels"][:, 0] = 0
    elif how == "click unknown":
        data["label_mask"][:, 0] = False
    elif how == "padding":
        data["row_mask"][:] = False
    else:
        data["sample_weight"][:] = 0

    assert run(data)["order"] == 0
    np.testing.assert_array_equal(slopes_of(data)["order"], 0)


def test_errors_name_what_is_wrong():
    arrays = np.zeros((3, 4)), np.ones((3, 4), bool), np.ones(3, bool)
    with pytest.raises(UserError, match=r"unknown task 'clik'.*Did you mean 'click'"):
        space_mask("clik", *arrays, SCHEMA)
    with pytest.raises(UserError, match="unknown space 'al'"):
        space_mask("click", *arrays, SCHEMA, "al")
