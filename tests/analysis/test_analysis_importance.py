"""Importance by task: against loops, and where the answer is known."""

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
from sklearn.metrics import roc_auc_score

from configs.base import get_config
from dtn_jax.analysis import gradients, importance, quality
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import read_sample
from dtn_jax.config import checked_config
from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.input.pipeline import SplitReader, take
from dtn_jax.interface import Batch, Inputs
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.spaces import SURE
from dtn_jax.models import build as architectures
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.run import Run
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state
from dtn_jax.step import make_score_step
from dtn_jax.tables.embedding import make_plan

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
    config = checked_config(config)
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


def test_scores_of_a_run_are_its_models_logits_whatever_positives_weigh():
    with jax.enable_x64(True):
        run, state, given, passes, naive = tiny(loss__positive_weights="order=200")
        expected = np.array(naive(state, given))
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
        auc(np.asarray(scores)[:, 0], model.rows.labels[:, 0])
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


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_interval_of_a_rare_value_counts_the_rows_that_receive_it(repeats):
    """One row in 50 has a value that says much. By the rows' own part alone the error is less
    than 0.9 of the spread over fresh samples."""
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(400):
        columns = {"plain": rng.normal(size=500), "rare": 7.0 * (rng.random(500) < 0.02)}
        chance = 1 / (1 + np.exp(1.5 - sum(columns.values())))
        labels = (rng.random(500) < chance).astype(float)
        score, seed = scorer(columns), int(rng.integers(2**31))
        plain, key = score("rare", np.arange(500)), one_key(labels)
        found = importance.permutation(score, plain, key, ("rare",), repeats, seed)
        means.append(found.mean[0, 0])
        errors.append(found.error[0, 0])
    assert np.sqrt(np.mean(np.square(errors))) / np.std(means) == pytest.approx(1, abs=0.07)


def test_a_field_that_the_model_ignores_has_no_interval():
    labels, plain = np.arange(40.0) % 2, np.random.default_rng(0).normal(size=(40, 1))
    found = importance.permutation(lambda *_: plain, plain, one_key(labels), ("a",), 2, 0)
    assert (found.mean[0, 0], found.error[0, 0]) == (0, 0)


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
    near = 0.15 if method == "permutation" else 1e-4  # by chance other rows receive the values
    np.testing.assert_allclose(errors(4), once / 2, rtol=near)  # as if they were independent
    shuffled = np.repeat(rng.permutation(500) * 7, 4)
    np.testing.assert_allclose(errors(4, shuffled), once, rtol=near)
    np.testing.assert_allclose(errors(1, np.arange(500)), once, rtol=1e-5)


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
