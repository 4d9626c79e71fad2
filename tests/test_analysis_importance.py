"""Importance by task: against loops, against other libraries, and where the answer is known."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict, FrozenConfigDict
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from configs.base import get_config
from dtn_jax import architectures, metrics, options
from dtn_jax.analysis import bayes, gradients, importance, quality, rank
from dtn_jax.analysis.importance import Importance
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import read_sample
from dtn_jax.datasets import catalog, funnel
from dtn_jax.datasets.blocks import Layout
from dtn_jax.datasets.prepared import Prepared
from dtn_jax.embedding import make_plan
from dtn_jax.input_pipeline import Batch, SplitReader, take
from dtn_jax.interface import Inputs
from dtn_jax.run import Run
from dtn_jax.schema import Field, Schema, Task, UserError
from dtn_jax.sharding import make_placement
from dtn_jax.spaces import SURE
from dtn_jax.state import create_state
from dtn_jax.step import make_score_step

B, D = 90, 3
SCHEMA = Schema(
    "shop",
    fields=(
        Field("item", rows=7),
        Field("words", kind="bag", rows=9, slots=3, pooling="mean", weighted=True),
        Field("price", kind="numeric", rows=2, standardised=True),
        Field("hour", rows=5),
    ),
    tasks=(Task("click"), Task("order", also_report=("click",)), Task("stars", kind="regression")),
)


def rows(seed=0, count=B):
    """A weighted bag of 0 to 3 words; some prices are missing."""
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.integers(0, f.rows, count) for f in SCHEMA.slot_fields()], axis=1)
    ids[:, 1:4][np.arange(3)[None] >= rng.integers(0, 4, count)[:, None]] = -1
    price = np.where(ids[:, 4] == 1, rng.normal(size=count), 1)
    labels = (rng.random((count, 3)) < [0.5, 0.4, 0.3]).astype(np.float32)
    labels[:, 2] = rng.normal(size=count)
    return Batch(
        ids=ids.astype(np.int32),
        weights=rng.random((count, 3)).astype(np.float32),
        numeric=price[:, None].astype(np.float32),
        labels=labels,
        label_mask=np.ones((count, 3), bool),
        sample_weight=rng.random(count).astype(np.float32),
        row_mask=np.ones(count, bool),
    )


class Tiny(NamedTuple):
    """A run, its random state, the passes over its rows, and a plain scoring step."""

    run: Run
    state: object
    rows: Batch
    passes: Passes
    naive: Callable


def tiny(architecture="shared_bottom", **changes):
    """A model of SCHEMA with random weights, in float64; batches of 32 on two devices."""
    config = get_config()
    config.model.architecture, config.model.experts = architecture, "gdcn+mlp"
    config.model.embedding_dim, config.model.expert_dim = D, 4
    config.model.tower_hidden = config.model.mlp.hidden = (5,)
    config.model.dtype, config.optim.table_init = "float64", 1.0
    config.data.eval_batch_size, config.parallel.devices = 32, 2
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    config = options.check(config)
    views = architectures.views(architecture, SCHEMA)
    data = Prepared(pathlib.Path(), SCHEMA, Layout(1, 8), {"train": B}, {}, "", "", {})
    run = Run(
        config=config,
        data=data,
        schema=SCHEMA,
        model=architectures.build(config.model, SCHEMA),
        plan=make_plan(SCHEMA, config.model, views, 0),
        at=make_placement(config),
        steps_per_epoch=1,
        total_steps=1,
    )
    make = functools.partial(create_state, config, run.model, run.plan)
    state = jax.jit(make, out_shardings=run.at.state(jax.eval_shape(make)))()
    given = rows()
    naive = jax.jit(make_score_step(run.model, run.plan))
    return Tiny(run, state, given, Passes(run, state, given), naive)


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        yield tiny()


# ---------------------------------------------------------------- the metric and its influence


@pytest.mark.parametrize("weighted", [False, True])
def test_auc_is_that_of_metrics_and_its_influence_its_derivative(weighted):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, 60).astype(np.float32)  # many ties
    labels = (rng.random(60) < 0.4).astype(np.float32)
    weights = rng.random(60) + 0.1 if weighted else None
    value, psi = quality.auc(scores, labels, weights)
    assert value == pytest.approx(metrics.auc(scores, labels, weights), rel=1e-13)
    base = np.ones(60) if weights is None else weights
    for i in (0, 7, 31, 59):  # psi_i = w_i dAUC/dw_i
        ends = [
            metrics.auc(scores, labels, base * (1 + sign * 1e-5 * (np.arange(60) == i)))
            for sign in (1, -1)
        ]
        assert psi[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-9)
    if not weighted:
        error = metrics.auc_standard_error(scores, labels)
        assert np.sqrt((psi**2).sum()) == pytest.approx(error, rel=0.03)  # n for n - 1


@pytest.mark.parametrize("weighted", [False, True])
def test_r2_is_that_of_metrics(weighted):
    rng = np.random.default_rng(0)
    labels, noise = rng.normal(size=(2, 50))
    weights = rng.random(50) if weighted else None
    value, psi = quality.r2(labels + noise, labels, weights)
    assert value == pytest.approx(metrics.regression_metrics(labels + noise, labels, weights)["r2"])
    assert psi.sum() == pytest.approx(0, abs=1e-12)


def test_keys_are_the_tasks_in_their_spaces():
    given = rows()
    found, undefined = quality.keys(SCHEMA, given, weighted=False)
    assert [key.name for key in found] == ["click@all", "order@all", "order@click", "stars@all"]
    assert undefined == []
    np.testing.assert_array_equal(found[2].rows, np.flatnonzero(given.labels[:, 0] == 1))
    one_class = given.replace(labels=given.labels * np.float32([1, 0, 1]))
    found, undefined = quality.keys(SCHEMA, one_class, weighted=False)
    assert [key.name for key in found] == ["click@all", "stars@all"]
    assert undefined == ["order@all", "order@click"]
    found, _ = quality.keys(SCHEMA, given, weighted=True)
    np.testing.assert_allclose(found[0].weights, given.sample_weight)


# ---------------------------------------------------------------- against loops


def embedded(model):
    """Embeddings `[B, views, F, D]`, looked up and pooled one row at a time."""
    table, plan, given = np.asarray(model.state.tables["embedding"]), model.run.plan, model.rows
    e = np.zeros((B, len(plan.views), 4, D))
    for i, v in np.ndindex(e.shape[:2]):
        for f, slots in enumerate(([0], [1, 2, 3], [4], [5])):
            known = [s for s in slots if given.ids[i, s] >= 0]
            vectors = [table[plan.offsets[v][s] + given.ids[i, s]] for s in known]
            weights = given.weights[i, [s - 1 for s in known]] if f == 1 else None
            e[i, v, f] = np.average(vectors, axis=0, weights=weights) if known else 0
        e[i, v, 2] *= given.numeric[i, 0]
    return e


def naive_scores(model, **changed):
    """Scores of all rows at once, on one device's plain program."""
    batch = model.rows.replace(**changed)
    return np.asarray(model.naive(jax.device_get(model.state), batch))


def test_rows_of_which_the_weights_alone_differ_are_scored_again(model):
    """Every row has the same words, of other weights."""
    given = model.rows
    ids = given.ids.copy()
    ids[:, 1:4] = [3, 5, 7]
    same = Passes(model.run, model.state, given.replace(ids=ids))
    order = np.random.default_rng(0).permutation(B)
    expected = naive_scores(model, ids=ids, weights=given.weights[order])
    np.testing.assert_allclose(same.permuted("words", order), expected, rtol=1e-10)
    assert np.abs(expected - np.asarray(same.plain())).max() > 1e-3


def test_scores_are_those_of_the_model(model):
    expected = naive_scores(model)
    assert model.passes.size == 32  # 90 rows: the last batch is padded
    np.testing.assert_allclose(model.passes.plain(), expected, rtol=1e-10)


def test_scores_of_a_run_have_the_weight_of_positives_taken_off():
    with jax.enable_x64(True):
        run, state, given, passes, naive = tiny(loss__positive_weights="order=200")
        expected = np.array(naive(state, given))
        expected[:, 1] -= np.log(200)
        batch = run.at.put(take(given, np.arange(32)), run.at.batch())
        np.testing.assert_allclose(run.score_step(state, batch), expected[:32], rtol=1e-6)
        np.testing.assert_allclose(passes.plain(), expected, rtol=1e-6)


def test_permutation_importance_is_that_of_a_loop(model):
    keys, _ = quality.keys(SCHEMA, model.rows, weighted=False)
    plain, fields = model.passes.plain(), SCHEMA.field_names
    counted = []
    found = importance.permutation(
        model.passes.permuted, plain, keys, fields, 2, 7, lambda: counted.append(1)
    )
    assert len(counted) == 2 * len(fields)
    slots = {"item": [0], "words": [1, 2, 3], "price": [4], "hour": [5]}

    def measured(scores):
        y, z = model.rows.labels, np.asarray(scores)
        p = 1 / (1 + np.exp(-z))
        among = np.minimum(p[:, 1] / p[:, 0], SURE)  # of an order among clicks
        clicks = y[:, 0] == 1
        aucs = [roc_auc_score(y[:, task], z[:, task]) for task in (0, 1)]
        aucs.append(roc_auc_score(y[clicks, 1], among[clicks]))
        return np.array([*aucs, 1 - ((z[:, 2] - y[:, 2]) ** 2).mean() / y[:, 2].var()])

    for f, field in enumerate(fields):
        for r in range(2):
            order = np.random.default_rng([7, f, r]).permutation(B)
            ids, weights, numeric = (
                a.copy() for a in (model.rows.ids, model.rows.weights, model.rows.numeric)
            )
            for i in range(B):
                for slot in slots[field]:
                    ids[i, slot] = model.rows.ids[order[i], slot]
                if field == "words":
                    weights[i] = model.rows.weights[order[i]]
                if field == "price":
                    numeric[i] = model.rows.numeric[order[i]]
            scores = naive_scores(model, ids=ids, weights=weights, numeric=numeric)
            expected = measured(plain) - measured(scores)
            np.testing.assert_allclose(found.values[r, f], expected, rtol=1e-5, atol=1e-10)
    np.testing.assert_allclose(found.mean, found.values.mean(axis=0))
    assert (found.error > 0).all()


def test_an_unknown_field_has_id_0_and_padding_stays(model):
    for field, slots in {"item": [0], "words": [1, 2, 3], "price": [4]}.items():
        ids, numeric = model.rows.ids.copy(), model.rows.numeric.copy()
        own = ids[:, slots]
        ids[:, slots] = np.where(own >= 0, 0, own)
        if field == "price":
            numeric[:] = 1  # as the encoder leaves a missing one
        expected = naive_scores(model, ids=ids, numeric=numeric)
        np.testing.assert_allclose(model.passes.unknown(field), expected, rtol=1e-10)
    keys, _ = quality.keys(SCHEMA, model.rows, weighted=False)
    plain = model.passes.plain()
    found = importance.unknown(model.passes.unknown, plain, keys, SCHEMA.field_names)
    before, after = (
        metrics.auc(np.asarray(scores)[:, 0], model.rows.labels[:, 0])
        for scores in (plain, model.passes.unknown("words"))
    )
    assert found.values[0, 1, 0] == pytest.approx(before - after, abs=1e-12)


def test_gradient_importance_is_that_of_a_loop_over_rows():
    """Of single_task, whose tasks have views of their own: a field's moves are summed over them."""
    with jax.enable_x64(True):
        model = tiny("single_task", model__experts="mlp", parallel__devices=1)
        found = gradients.moves(model.passes)
        views, e = model.run.plan.views, embedded(model)
        assert len(views) == 3

        def logits(fields):
            inputs = {view: fields[None, v] for v, view in enumerate(views)}
            out = model.run.model.apply(
                {"params": params},
                Inputs(fields=inputs, codewords=None, row_mask=jnp.ones(1, bool)),
                train=False,
            )
            return jnp.stack([out.logits[task][0] for task in SCHEMA.task_names])

        params = jax.device_get(model.state.params)
        away, slopes = e - e.mean(axis=0), jax.jit(jax.jacrev(logits))
        for i in (0, 11, B - 1):
            expected = (np.asarray(slopes(e[i])) * away[i]).sum(axis=(1, 3))
            np.testing.assert_allclose(found[i], expected.T, rtol=1e-9, atol=1e-12)


def test_gradient_importance_is_a_mean_over_the_rows_of_the_space():
    """Among clicks it is that of the logit of p(order) / p(click), held to SURE, by JAX."""
    given = rows()
    keys, _ = quality.keys(SCHEMA, given, weighted=False)
    rng = np.random.default_rng(0)
    moves, plain = rng.normal(size=(B, 4, 3)), rng.normal((1, -1, 0), size=(B, 3))
    found = importance.gradient(moves, plain, keys, SCHEMA.field_names)

    def among_clicks(z):
        p = jnp.minimum(jax.nn.sigmoid(z[1]) / jax.nn.sigmoid(z[0]), SURE)
        return jnp.log(p / (1 - p))

    with jax.enable_x64(True):
        slopes = np.asarray(jax.jit(jax.vmap(jax.grad(among_clicks)))(plain))
    held = plain[:, 1] > plain[:, 0]
    assert 0 < held.sum() < B  # where the two contradict each other, nothing moves
    np.testing.assert_array_equal(slopes[held], 0)
    clicks, size = given.labels[:, 0] == 1, np.abs(moves)
    quotient = np.abs((moves * slopes[:, None]).sum(axis=2))
    expected = {
        "click@all": size[:, 1, 0],
        "order@all": size[:, 1, 1],
        "order@click": quotient[clicks, 1],
        "stars@all": size[:, 1, 2],
    }
    for k, key in enumerate(keys):
        own = expected[key.name]
        assert found.mean[1, k] == pytest.approx(own.mean(), rel=1e-6)
        assert found.error[1, k] == pytest.approx(own.std() / np.sqrt(len(own)), rel=1e-5)


# ---------------------------------------------------------------- where the answer is known


def scorer(columns):
    """Scores that are the sum of the columns `{field: [B]}`, one task."""

    def permuted(field, order):
        changed = columns | ({field: columns[field][order]} if field else {})
        return sum(changed.values())[:, None]

    return permuted


def one_key(labels):
    return [quality.Key("y@all", "binary", 0, np.arange(len(labels)), labels, None)]


def test_a_field_that_the_labels_ignore_has_none():
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=5_000) for name in ("cause", "noise")}
    labels = (rng.random(5_000) < 1 / (1 + np.exp(-2 * columns["cause"]))).astype(float)
    score = scorer(columns)
    plain = score("cause", np.arange(5_000))
    found = importance.permutation(score, plain, one_key(labels), ("cause", "noise"), 5, 0)
    assert abs(found.mean[1, 0]) < importance.Z * found.error[1, 0] < 0.02
    assert found.mean[0, 0] > 0.2
    np.testing.assert_array_equal(found.above_noise[:, 0], [True, False])


def test_the_intervals_cover_what_other_samples_give():
    """Standard errors are as large as the spread over fresh samples, and so is the covariance."""
    rng = np.random.default_rng(1)
    means, errors, covariances = [], [], []
    for _ in range(120):
        columns = {name: rng.normal(size=400) for name in ("strong", "weak")}
        logit = 1.5 * columns["strong"] + 0.7 * columns["weak"]
        labels = (rng.random(400) < 1 / (1 + np.exp(-logit))).astype(float)
        columns = {"strong": 1.5 * columns["strong"], "weak": 0.7 * columns["weak"]}
        score = scorer(columns)
        plain = score("weak", np.arange(400))
        found = importance.permutation(score, plain, one_key(labels), tuple(columns), 3, 0)
        means.append(found.mean[:, 0])
        errors.append(found.error[:, 0])
        covariances.append(found.covariance)
    spread = np.std(means, axis=0)
    np.testing.assert_allclose(np.mean(errors, axis=0), spread, rtol=0.2)
    inside = np.abs(means - np.mean(means, axis=0)) < importance.Z * np.array(errors)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(
        np.mean(covariances, axis=0), np.cov(np.transpose(means)), atol=0.25 * spread.max() ** 2
    )


@pytest.mark.parametrize("method", ["permutation", "unknown", "gradient"])
def test_rows_of_a_group_count_as_one(method):
    """Each row four times, as a group, tells no more than once."""
    rng = np.random.default_rng(2)
    labels, moves = rng.integers(0, 2, 500).astype(float), rng.random((500, 2, 1))
    plain, changed = rng.normal(size=(2, 500, 1)) + labels[:, None]

    def errors(times, group=None):
        def often(rows):
            return np.repeat(rows, times, axis=0)

        keys, fields = one_key(often(labels)), ("a", "b")
        if method == "gradient":
            return importance.gradient(often(moves), often(plain), keys, fields, group).error
        scores = lambda *_: often(changed)  # noqa: E731
        more = () if method == "unknown" else (2, 0)
        measure = getattr(importance, method)
        return measure(scores, often(plain), keys, fields, *more, group=group).error

    once = errors(1)
    assert (once > 0).all()
    np.testing.assert_allclose(errors(4), once / 2, rtol=1e-4)  # as if they were independent
    shuffled = np.repeat(rng.permutation(500) * 7, 4)
    np.testing.assert_allclose(errors(4, shuffled), once, rtol=1e-4)
    np.testing.assert_allclose(errors(1, np.arange(500)), once, rtol=1e-5)


def given(means, error=1e-9):
    """An importance with these means `[F, K]` and independent errors."""
    means = np.asarray(means, float)
    fields = tuple(f"f{i}" for i in range(len(means)))
    keys = tuple(f"t{k}@all" for k in range(means.shape[1]))
    covariance = error**2 * np.eye(means.size)
    return Importance("permutation", fields, keys, np.zeros(len(keys)), means[None], covariance)


def test_spearman_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 4, 12)).astype(float)
    for i in range(4):
        assert rank.spearman(a, b)[i] == pytest.approx(spearmanr(a[i], b[i]).statistic)
    assert np.isnan(rank.spearman(np.ones(4), np.arange(4.0)))


def test_divergence_of_equal_and_of_reversed_orders():
    up = np.arange(8.0)
    found = rank.divergence(given(np.stack([up, 3 * up + 1, -up], axis=1)))
    np.testing.assert_allclose(found.value, [[0, 0, 2], [0, 0, 2], [2, 2, 0]], atol=1e-12)
    np.testing.assert_allclose(found.low, found.value, atol=1e-12)
    np.testing.assert_allclose(found.high, found.value, atol=1e-12)
    np.testing.assert_allclose(found.itself, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "noise", "covered", "mirrored"),
    [
        (8, 0.1, 96, 71),
        (8, 1.0, 88, 64),
        (12, 0.3, 92, 80),
        (39, 0.1, 93, 82),
        (39, 1.0, 88, 81),
    ],
)
def test_the_interval_of_a_divergence_has_the_true_one_in_it(fields, noise, covered, mirrored):
    """In so many % of 200 simulated pairs; fewer, were the draws mirrored at the estimate.

    `noise` is the standard error of every importance over the median one. rank.py and the report
    quote the figures.
    """
    rng = np.random.default_rng(0)
    inside = np.zeros(2)
    with threadpool_limits(1):  # threads only wait for each other on matrices this small
        for _ in range(200):
            true = rng.lognormal(0, 1.5, (fields, 2))
            error = noise * np.median(true)
            seen = true + error * rng.normal(size=true.shape)
            found = rank.divergence(given(seen, error), draws=200)
            value, low, high = (x[0, 1] for x in (found.value, found.low, found.high))
            wanted = 1 - rank.spearman(*true.T)
            inside += low <= wanted <= high, 2 * value - high <= wanted <= 2 * value - low
    np.testing.assert_allclose(inside / 2, [covered, mirrored], atol=2.5)


def test_noise_widens_the_interval_and_shows_in_the_divergence_of_a_task_from_itself():
    up = np.arange(8.0)
    wide, wider = (
        rank.divergence(given(np.stack([up, up[::-1]], axis=1), error)) for error in (0.3, 3)
    )
    for found in (wide, wider):
        assert found.low[0, 1] < found.high[0, 1] <= 2
    assert wide.high[0, 1] - wide.low[0, 1] < wider.high[0, 1] - wider.low[0, 1]
    assert (wide.itself < wider.itself).all()
    all_noise = rank.divergence(given(np.zeros((8, 2)) + 1e-6 * up[:, None], 1))
    np.testing.assert_allclose(all_noise.itself, 1, atol=0.05)


def test_draws_have_the_covariance():
    found = given(np.arange(6.0).reshape(3, 2))
    mixed = np.random.default_rng(0).normal(size=(6, 6))
    found.__dict__["covariance"] = mixed @ mixed.T
    drawn = rank.drawn(found, 40_000, 0).reshape(-1, 6)
    np.testing.assert_allclose(np.cov(drawn.T), mixed @ mixed.T, atol=0.3)
    np.testing.assert_allclose(drawn.mean(axis=0), np.arange(6.0), atol=0.1)


# ---------------------------------------------------------------- the known answer


@pytest.fixture(scope="module")
def truth():
    """12,000 rows, their keys, and the Bayes-optimal score's importance."""
    spec = funnel.FunnelSpec(rows=12_000)
    ids, labels = funnel.rows(spec, 0, 12_000)
    tasks = (
        Task("click"),
        Task("cart", also_report=("click",), upstream=("click",)),
        Task("order", also_report=("cart", "click"), upstream=("cart",)),
    )
    schema = Schema("synthetic", [Field(f) for f in funnel.FIELDS], tasks)
    batch = Batch(
        ids=ids,
        weights=np.zeros((12_000, 0), np.float32),
        numeric=np.zeros((12_000, 0), np.float32),
        labels=labels.astype(np.float32),
        label_mask=np.ones(labels.shape, bool),
        sample_weight=np.ones(12_000, np.float32),
        row_mask=np.ones(12_000, bool),
    )
    keys, _ = quality.keys(schema, batch, weighted=False)
    return spec, ids, keys, bayes.bayes_importance(spec, ids, keys, 2, 0)


def test_the_bayes_optimal_score_uses_the_fields_of_its_stages_alone(truth):
    spec, ids, keys, found = truth
    assert found.keys == tuple(f"{t}@{s}" for t, s in [
        ("click", "all"), ("cart", "all"), ("cart", "click"),
        ("order", "all"), ("order", "cart"), ("order", "click"),
    ])  # fmt: skip
    stages = {"click@all": ["click"], "cart@click": ["cart"], "order@click": ["cart", "order"]}
    for key, used in stages.items():
        fields = set()
        for stage in used:
            fields |= set(funnel.STAGES[stage].weights)
            fields |= {f for pair in funnel.STAGES[stage].pairs for f in pair[:2]}
        k = found.keys.index(key)
        for f, field in enumerate(funnel.FIELDS):
            assert (found.values[:, f, k] == 0).all() == (field not in fields), (key, field)
    assert found.base[0] == pytest.approx(
        metrics.auc(funnel.bayes_scores(spec, ids)["click@all"], keys[0].labels), rel=1e-12
    )


def test_importance_of_the_bayes_score_agrees_with_the_known_shares_of_variance(truth):
    spec, _, _, found = truth
    shares = funnel.importance(spec)
    for key, stage in {"click@all": "click", "cart@click": "cart"}.items():
        k = found.keys.index(key)
        over = found.above_noise[:, k]
        assert rank.spearman(found.mean[over, k], shares[stage][over]) > 0.9


def test_agreement_is_over_the_fields_above_the_truths_noise(truth):
    spec, ids, keys, found = truth
    again = bayes.bayes_importance(spec, ids, keys, 2, 1)
    agreed = bayes.agreement(again, found)
    for k, key in enumerate(found.keys):
        assert agreed[key]["fields"] == found.above_noise[:, k].sum()
        assert agreed[key]["rank_correlation"] > 0.9
    k = found.keys.index("click@all")
    below = ~found.above_noise[:, k]
    turned = again.values.copy()
    turned[:, below, k] = np.linspace(5, 9, below.sum())  # fields that do not count
    moved = Importance(again.method, again.fields, again.keys, again.base, turned, again.covariance)
    assert bayes.agreement(moved, found)["click@all"] == agreed["click@all"]
    turned[:, :, k] *= -1
    assert bayes.agreement(moved, found)["click@all"]["rank_correlation"] < -0.9
    few = given(np.zeros((23, 6)), 1)
    few.__dict__.update(fields=found.fields, keys=found.keys)
    assert bayes.agreement(again, few)["click@all"] == {"rank_correlation": None, "fields": 0}


# ---------------------------------------------------------------- samples


def test_a_sample_is_a_seeded_draw_of_a_splits_rows(prepared_dir, monkeypatch):
    monkeypatch.setattr("dtn_jax.analysis.sample.READ", 700)
    data = catalog.load("adult", data_dir=prepared_dir)
    everything = SplitReader(data, "validation").everything()
    whole = read_sample(data, "validation", 10**9, 0)
    assert whole.group is None
    jax.tree.map(np.testing.assert_array_equal, whole.rows, everything)
    part, again, other = (read_sample(data, "validation", 1_000, s).rows for s in (3, 3, 4))
    place = np.sort(np.random.default_rng(3).choice(3_256, 1_000, replace=False))
    np.testing.assert_array_equal(part.ids, everything.ids[place])
    np.testing.assert_array_equal(part.labels, everything.labels[place])
    np.testing.assert_array_equal(part.ids, again.ids)
    assert np.any(part.ids != other.ids)
    with pytest.raises(UserError, match="unknown split 'dev'"):
        read_sample(data, "dev", 10, 0)
    with pytest.raises(UserError, match="rows=0: expected at least 1"):
        read_sample(data, "test", 0, 0)


def test_more_rows_than_the_device_may_hold_are_refused(model):
    many = rows(count=9)
    limited = ConfigDict(model.run.config.to_dict())
    limited.data.device_bytes = 8 * model.run.data.row_bytes()
    run = dataclasses.replace(model.run, config=FrozenConfigDict(limited))
    with pytest.raises(UserError, match=r"9 rows take .* take fewer rows"):
        Passes(run, model.state, many)
