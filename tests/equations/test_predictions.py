"""What scores mean: of a regression its label's mean, median or expected level, in its unit; of a
binary task its log-odds, whatever positives weigh in the loss."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from toy_steps import build, config, first_state

from configs.base import get_config
from dtn_jax.errors import UserError
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import TaskLoss, predictions, task_losses
from dtn_jax.losses.log_normal import LogNormal
from dtn_jax.losses.notes import large
from dtn_jax.losses.ordinal import Ordinal
from dtn_jax.losses.squared_error import SquaredError
from dtn_jax.losses.weighted_logistic import WeightedLogistic
from dtn_jax.losses.ziln import ZILN
from dtn_jax.schema import Field, Schema, Task

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

Z = np.array([-8.0, -1.0, 0.0, 0.5, 3.0])


def best(loss, labels):
    """The z that costs these labels least on average, by Newton's method from their log's mean."""

    def cost(z):
        return loss(jnp.full(len(labels), z), jnp.asarray(labels), 1.0).mean()

    slope = jax.grad(cost)

    @jax.jit
    def newton(z):
        step = lambda _, z: z - jnp.clip(slope(z) / jax.grad(slope)(z), -1, 1)  # noqa: E731
        z = jax.lax.fori_loop(0, 60, step, z)
        return z, slope(z)

    z, left = newton(0.0)
    assert abs(left) < 1e-9
    return z


def score(loss, z):
    return float(loss.prediction(jnp.asarray([z]))[0])


def test_scores_are_in_the_labels_unit_and_in_the_order_that_is_asked_for():
    tasks = (Task("click"), Task("seconds", "regression"), Task("stars", "regression"))
    options = get_config().loss
    options.tasks, options.log_normal.spread = "seconds=log_normal,stars=ordinal", 2.0
    chosen = read_losses(options, Schema("s", (Field("f"),), tasks))
    outputs = {name: jnp.asarray(Z) for name in ("stars", "seconds", "click")}
    click, seconds, stars = predictions(outputs, chosen).T
    np.testing.assert_array_equal(click, Z)
    np.testing.assert_allclose(seconds, np.exp(Z + 2) - 1, rtol=1e-12)
    above = [1 / (1 + np.exp(math.log(k / (5 - k)) - Z)) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(stars, 1 + sum(above), rtol=1e-12)
    np.testing.assert_array_equal(predictions(outputs, chosen[::-1])[:, 0], stars)


@pytest.mark.parametrize("loss", [LogNormal(), WeightedLogistic()])
def test_a_score_too_large_for_its_dtype_is_its_largest_number(loss):
    z = jnp.asarray([500.0, jnp.nan], jnp.float32)
    got = predictions({"t": z}, [TaskLoss("t", loss)])[:, 0]
    assert got[0] == np.finfo(np.float32).max
    assert np.isnan(got[1])


def test_a_prediction_that_is_not_a_number_a_row_is_told():
    @dataclasses.dataclass(frozen=True)
    class Mean(SquaredError):
        def prediction(self, z):
            return z.mean()

    with pytest.raises(UserError, match=r"prediction of task 't', by Mean, has the shape \(\)"):
        predictions({"t": jnp.asarray(Z)}, [TaskLoss("t", Mean())])


def test_of_log_normal_labels_the_score_is_the_median_or_the_mean():
    labels = np.random.default_rng(0).lognormal(3, 0.8, 100_000) - 1
    labels = labels[labels >= 0]
    z = best(LogNormal(), labels)
    assert score(LogNormal(), z) == pytest.approx(np.median(labels), rel=0.01)
    assert score(LogNormal(spread=0.8), z) == pytest.approx(labels.mean(), rel=0.01)
    assert labels.mean() > 1.3 * np.median(labels)
    assert "median" in LogNormal().meaning
    assert "mean" in LogNormal(spread=0.8).meaning


def test_the_odds_of_watch_time_are_the_papers_quotient_and_near_the_mean_of_rare_clicks():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(5000) < 0.04, rng.exponential(30, 5000), 0)
    odds = score(WeightedLogistic(), best(WeightedLogistic(), labels))
    assert odds == pytest.approx(labels.sum() / (labels == 0).sum(), rel=1e-6)
    assert odds == pytest.approx(labels.mean() * 1.04, rel=0.02)  # E[T] (1 + P)
    exact = WeightedLogistic(negatives="all")
    assert score(exact, best(exact, labels)) == pytest.approx(labels.mean(), rel=1e-6)
    assert WeightedLogistic().meaning != exact.meaning


def test_levels_have_probabilities_and_the_score_is_their_mean():
    loss, levels = Ordinal(levels="0=2,0.5=1,4=5"), np.array([0, 0.5, 4])
    each = np.stack([np.exp(-loss(jnp.asarray(Z), jnp.full(len(Z), y), 1.0)) for y in levels])
    np.testing.assert_allclose(each.sum(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(loss.prediction(jnp.asarray(Z)), levels @ each, rtol=1e-12)
    np.testing.assert_allclose(each[:, 2], np.array([2, 1, 5]) / 8, rtol=1e-12)  # z = 0
    labels = np.repeat(levels, (2, 1, 5))
    assert best(loss, labels) == pytest.approx(0, abs=1e-9)
    assert (np.diff(loss.prediction(jnp.asarray(Z))) > 0).all()


def test_a_label_between_levels_is_the_nearest_one():
    loss, z = Ordinal(levels="1=1,2=3,4=2"), jnp.zeros(6)
    near, exact = jnp.array([-3.0, 1.5, 1.6, 2.9, 3.1, 9]), jnp.array([1.0, 1, 2, 2, 4, 4])
    np.testing.assert_array_equal(loss(z, near, 1.0), loss(z, exact, 1.0))


def test_ziln_recovers_what_its_labels_were_drawn_from():
    """They are 0 but for the share p, and log-normal there."""
    (p, m, s), rng = (0.2, 3.0, 0.8), np.random.default_rng(0)
    labels = np.where(rng.random(50_000) < p, rng.lognormal(m, s, 50_000), 0)

    def cost(z):
        return ZILN()(jnp.broadcast_to(z, (len(labels), 3)), jnp.asarray(labels), 1.0).mean()

    found = minimize(jax.jit(cost), np.zeros(3), jac=jax.jit(jax.grad(cost)), tol=1e-9).x
    got = 1 / (1 + np.exp(-found[0])), found[1], np.log1p(np.exp(found[2]))
    logs = np.log(labels[labels > 0])
    np.testing.assert_allclose(got, [(labels > 0).mean(), logs.mean(), logs.std()], rtol=1e-5)
    np.testing.assert_allclose(got, [p, m, s], rtol=0.03)
    value = score(ZILN(), found)
    assert value == pytest.approx(p * np.exp(m + s**2 / 2), rel=0.05)
    assert value == pytest.approx(labels.mean(), rel=0.05)
    assert ZILN().prediction(jnp.array([[-1e4, 1e3, 50.0]]))[0] < np.inf


@pytest.mark.parametrize("name", ["star", "metaheac"])
def test_a_tower_that_gives_one_number_is_refused_where_a_loss_needs_more(name):
    tasks = (Task("click"), Task("ltv", "regression"))
    fields = (Field("item", rows=4), Field("page", rows=3, role="scenario"))
    given = config(model__architecture=name, loss__tasks="ltv=ziln")
    with pytest.raises(UserError, match="the loss of ltv, ZILN, needs 3 numbers of a row"):
        first_state(given, *build(given, Schema("shop", fields, tasks)))


@pytest.mark.parametrize("loss", [LogNormal(), WeightedLogistic(), WeightedLogistic("all"), ZILN()])
def test_labels_below_0_cost_nan(loss):
    z = jnp.zeros((3, 3)) if getattr(loss, "outputs", 1) > 1 else jnp.zeros(3)
    cost = loss(z, jnp.array([-0.5, 0.0, 2.0]), 1.0)
    assert np.isnan(cost).tolist() == [True, False, False]


# A regression in raw units beside binary tasks gets a note before training.

WATCH = Schema("s", (Field("f", rows=2),), (Task("click"), Task("watch", "regression")))
LABELS = np.array([[1, 30], [0, 0], [1, 50], [0, 1e9]], np.float32)
KNOWN = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)


def notes(schema=WATCH, **loss):
    config = get_config()
    config.loss.update(loss)
    losses = read_losses(config.loss, schema)
    return list(large(losses, config.loss, schema, LABELS, KNOWN))


def test_a_label_in_seconds_dwarfs_a_click():
    (note,) = notes()  # (30² + 50²) / 3 = 1,133
    assert "the squared error of watch is 1,133 at first, a binary task's loss 0.7" in note
    assert "--config.loss.tasks=watch=log_normal, if no label is below 0, or --config" in note
    assert note.endswith("--config.loss.task_weights=watch=0.0006")


@pytest.mark.parametrize(
    "loss",
    [{"task_weights": "watch=0.0006"}, {"tasks": "watch=huber"}, {"task_weights": "watch=0"}],
)
def test_a_weight_or_another_loss_takes_the_note_away(loss):
    assert notes(**loss) == []


@pytest.mark.parametrize(("balancing", "count"), [("pcgrad", 1), ("uncertainty", 0)])
def test_a_balancer_that_keeps_units_keeps_the_note(balancing, count):
    assert len(notes(balancing=balancing)) == count


# Positives may weigh what they will: what a model gives is the log-odds of its task.


@pytest.mark.parametrize(("weight", "smoothing"), [(0.2, 0.0), (3000, 0.0), (3000, 0.4)])
def test_the_best_logit_is_the_log_odds(weight, smoothing):
    """Of the labels, smoothed where they are: 1 is 0.8 then, and 0 is 0.2."""
    labels = jnp.asarray(np.array([1.0, 0.0, 0.0, 0.0])[:, None])
    schema = Schema("s", (Field("f", rows=2),), (Task("click"),))
    options = get_config().loss
    options.positive_weights, options.label_smoothing = f"click={weight}", smoothing
    chosen = read_losses(options, schema)

    def loss(z):
        return task_losses({"click": jnp.full(4, z)}, labels, jnp.full((4, 1), 0.25), chosen)[0]

    rate = {0.0: 0.25, 0.4: (0.8 + 3 * 0.2) / 4}[smoothing]
    slope, least = jax.jit(jax.grad(loss)), np.log(rate / (1 - rate))
    assert abs(slope(least)) < 1e-5 * weight
    assert abs(slope(least + 0.1)) > 1e-3
