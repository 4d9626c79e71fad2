"""Each loss against its equation, and what the options of the section `loss` may say."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from other_values import another
from scipy.stats import lognorm

from configs.base import get_config
from dtn_jax.balancing import BALANCERS
from dtn_jax.errors import UserError
from dtn_jax.losses import BY_KIND, LOSSES, LossOptions, read_losses
from dtn_jax.losses.by_task import task_losses
from dtn_jax.losses.focal import Focal
from dtn_jax.losses.huber import Huber
from dtn_jax.losses.ordinal import Ordinal
from dtn_jax.losses.rows import row_weights
from dtn_jax.losses.weighted_logistic import WeightedLogistic
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.options import declared
from dtn_jax.schema import Field, Schema, Task

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

SCHEMA = Schema(
    "shop", (Field("item", rows=3),), (Task("click"), Task("seconds", kind="regression"))
)


def cross_entropy(z, y, w):
    p = 1 / (1 + np.exp(-z))
    return -w * y * np.log(p) - (1 - y) * np.log(1 - p)


def focal(z, y, w, gamma=2.0):
    p = 1 / (1 + np.exp(-z))
    return -w * y * (1 - p) ** gamma * np.log(p) - (1 - y) * p**gamma * np.log(1 - p)


def huber(z, y, w, delta=1.0):
    e = np.abs(z - y)
    return np.where(e <= delta, e**2 / 2, delta * (e - delta / 2))


def ordinal(z, y, w, shares=(1, 1, 1, 1, 1)):
    """Of stars 1 to 5: minus the log of a difference of cumulative probabilities."""
    total = np.cumsum(shares) / np.sum(shares)
    theta = np.log(total[:-1] / (1 - total[:-1]))
    until = 1 / (1 + np.exp(z[:, None] - theta))
    until = np.pad(until, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    rows = np.arange(len(z))
    return -np.log(until[rows, y.astype(int)] - until[rows, y.astype(int) - 1])


def weighted_logistic(z, y, w, negatives="zeros"):
    p = 1 / (1 + np.exp(-z))
    negative = 1 if negatives == "all" else y == 0
    return -y * np.log(p) - negative * np.log(1 - p)


def ziln(z, y, w):
    """By scipy's log-normal distribution."""
    p, s = 1 / (1 + np.exp(-z[:, 0])), np.log1p(np.exp(z[:, 2]))
    density = lognorm.pdf(np.where(y > 0, y, 1), s, scale=np.exp(z[:, 1]))
    return -np.log(np.where(y > 0, p * density, 1 - p))


EQUATIONS = {
    "cross_entropy": cross_entropy,
    "squared_error": lambda z, y, w: (z - y) ** 2,
    "huber": huber,
    "focal": focal,
    "log_normal": lambda z, y, w: (z - np.log(1 + y)) ** 2,
    "weighted_logistic": weighted_logistic,
    "ordinal": ordinal,
    "ziln": ziln,
}
LABELS = {
    "log_normal": lambda rng: rng.lognormal(size=40),
    "weighted_logistic": lambda rng: rng.lognormal(size=40) * (rng.random(40) < 0.5),
    "ordinal": lambda rng: rng.integers(1, 6, 40),
    "ziln": lambda rng: rng.lognormal(size=40) * (rng.random(40) < 0.5),
}
OTHER = {"levels": "1=6,2=11,3=27,4=34,5=22"}  # of options that are text
ALONE = [name for name, loss in LOSSES.items() if not hasattr(loss, "reads")]  # test_d2q has others


def rows(name):
    rng = np.random.default_rng(0)
    if LOSSES[name].kind == "binary":
        y = rng.random(40) < 0.5
    else:
        y = LABELS.get(name, lambda rng: rng.normal(size=40))(rng)
    outputs = getattr(LOSSES[name], "outputs", 1)
    return 2 * rng.normal(size=(40, outputs)[: 1 + (outputs > 1)]), y.astype(np.float64)


def cost(loss, z, y, w=1.0):
    return np.asarray(jax.jit(lambda z, y: loss(z, y, w))(z, y))


def assert_near(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("loss", "equation"),
    [
        *((LOSSES[name](), equation) for name, equation in EQUATIONS.items()),
        (Huber(delta=0.3), lambda z, y, w: huber(z, y, w, 0.3)),
        (Focal(gamma=0.5), lambda z, y, w: focal(z, y, w, 0.5)),
        (Focal(gamma=0.0), cross_entropy),
        (WeightedLogistic(negatives="all"), lambda z, y, w: weighted_logistic(z, y, w, "all")),
        (Ordinal(levels=OTHER["levels"]), lambda z, y, w: ordinal(z, y, w, (6, 11, 27, 34, 22))),
    ],
)
def test_a_loss_is_its_equation(loss, equation):
    """And costs a row `[B]` what it costs alone, so that spaces and masks may be applied to it."""
    (name,) = (name for name, kind in LOSSES.items() if type(loss) is kind)
    z, y = rows(name)
    w = 3.5 if loss.kind == "binary" else 1.0
    whole = cost(loss, z, y, w)
    assert_near(whole, equation(z, y, w))
    np.testing.assert_allclose(cost(loss, z[3:5], y[3:5], w), whole[3:5], rtol=1e-10)


@pytest.mark.parametrize("name", ALONE)
def test_every_option_of_a_loss_changes_it(name):
    """What a row costs, or what its score is."""
    z, y = rows(name)

    def felt(loss):
        score = loss.prediction if hasattr(loss, "prediction") else lambda z: z
        return np.stack(jax.jit(lambda z, y: (loss(z, y, 2.0), score(z)))(z, y))

    usual = felt(LOSSES[name]())
    for field, found in declared(LOSSES[name]).items():
        value = OTHER[field] if field in OTHER else another(found, found.default)
        assert not np.array_equal(felt(LOSSES[name](**{field: value})), usual), field


@pytest.mark.parametrize("name", ALONE)
def test_far_from_the_label_losses_and_gradients_stay_finite(name):
    loss = LOSSES[name]()
    z, y = np.array([1e4, -1e4, 1e4, -1e4], "f4"), np.array([1.0, 1.0, 0.0, 0.0], "f4")
    if getattr(loss, "outputs", 1) > 1:
        z = np.stack([z, -z, z], axis=1)
    cost = jax.value_and_grad(lambda z, y: loss(z, y, 2.0).sum())
    value, gradient = jax.jit(cost)(z, y)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def read(**options):
    loss = get_config().loss
    loss.update_from_flattened_dict(options)
    return read_losses(loss, SCHEMA)


def test_a_task_has_the_loss_that_is_named_else_that_of_its_kind():
    assert [chosen.loss for chosen in read()] == [LOSSES[BY_KIND[t.kind]]() for t in SCHEMA.tasks]
    click, seconds = read(tasks="seconds=huber", **{"huber.delta": 0.5, "focal.gamma": 3.0})
    assert (click.task, seconds.task) == SCHEMA.task_names
    assert click.loss == LOSSES["cross_entropy"]()
    assert seconds.loss == Huber(delta=0.5)
    assert read(tasks="click=focal", **{"focal.gamma": 3.0})[0].loss == Focal(gamma=3.0)
    assert [c.positive_weight for c in read(positive_weights="click=7")] == [7, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "clik=focal"}, "task in loss.tasks 'clik'. Did you mean 'click'"),
        ({"tasks": "click=focl"}, "loss of click 'focl'. Did you mean 'focal'"),
        ({"tasks": "click"}, "loss.tasks: expected KEY=VALUE, got 'click'"),
        (
            {"tasks": "click=huber"},
            "huber is a loss of regression tasks, and click is a binary task; expected one of "
            "cross_entropy, focal",
        ),
        (
            {"tasks": "seconds=ordinal", "ordinal.levels": "1=1"},
            "loss.ordinal.levels: expected two levels or more, rising, got '1=1'",
        ),
        ({"tasks": "seconds=ordinal", "ordinal.levels": "2=1,1=1"}, "rising, got '2=1,1=1'"),
        ({"tasks": "seconds=ordinal", "ordinal.levels": "1=1,two=1"}, "expected numbers, LEVEL="),
        ({"tasks": "seconds=ordinal", "ordinal.levels": "1=1,2=0"}, "expected shares above 0, got"),
        ({"positive_weights": "clik=2"}, "loss.positive_weights 'clik'. Did you mean 'click'"),
        ({"positive_weights": "click=0"}, "expected a number above 0 for click, got 'click=0'"),
        ({"positive_weights": "seconds=2"}, "seconds is a regression task, which has no positives"),
    ],
)
def test_what_is_wrong_is_told(options, message):
    with pytest.raises(UserError) as caught:
        read(**options)
    assert message in str(caught.value)


def test_losses_balancers_and_options_of_the_section_share_no_name():
    """They stand side by side under `loss.`."""
    names = [*LOSSES, *BALANCERS, *declared(LossOptions)]
    assert len(set(names)) == len(names)


# Mean losses against the written-out sums, hand-computed numbers, and what must never leak.


SHOP = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(
        Task("click"),
        Task("order", space="click", also_report=("all",), upstream=("click",)),
        Task("seconds", kind="regression", space="click"),
        Task("stars", kind="regression"),
    ),
)
NAMES = SHOP.task_names


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
    weights = row_weights(*rest, data["sample_weight"], SHOP)
    loss = get_config().loss
    loss.update(dict(options))
    chosen = read_losses(loss, SHOP)

    def losses(logits):
        found = task_losses(logits, data["labels"], weights, chosen)
        return sum(found), dict(zip(NAMES, found))

    slopes, found = jax.grad(losses, has_aux=True)(logits)
    return found, slopes


def row_by_row(data, positive_weights, smoothing=0.0):
    """The definition, one row at a time in Python floats."""
    result = {}
    for t, task in enumerate(SHOP.tasks):
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
            mask = space_mask(name, data["labels"], data["label_mask"], data["row_mask"], SHOP)
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
        space_mask("clik", *arrays, SHOP)
    with pytest.raises(UserError, match="unknown space 'al'"):
        space_mask("click", *arrays, SHOP, "al")
