"""Losses beside the tasks' own: each against NumPy, equal however a batch is split."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_steps
from built_models import CHAIN, PAIR, group, sigmoid, tower, usual
from routing_equations import selectors
from scipy.optimize import minimize

from dtn_jax.interface import Label
from dtn_jax.models.architectures.dselect_k import smooth_step
from dtn_jax.models.architectures.escm2 import counterfactual
from dtn_jax.models.architectures.fdn import norm_of_products
from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


def cross_entropy(logit, label):
    y = np.where(label.known, label.values, 0)
    p = sigmoid(np.asarray(logit))
    loss = -y * np.log(p) - (1 - y) * np.log(1 - p)
    return np.where(label.known, loss, 0)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["ips", "dr"])
def test_escm2_weighs_the_conditional_loss_by_the_propensity(kind, model):
    built = model(CHAIN, **usual("escm2", escm2__kind=kind, escm2__weight=0.3))
    out, (p, views), labels = built(), built.exact, built.inputs.labels
    assert set(out.aux) == {f"{kind}_cart", f"{kind}_order"}
    for task, upstream in (("cart", "click"), ("order", "cart")):
        o = np.where(labels[upstream].known & labels[task].known, labels[upstream].values, 0)
        assert 0 < o.sum() < len(o)
        assert np.any((labels[upstream].values == 1) & ~labels[task].known)
        p_u = sigmoid(np.asarray(out.logits[upstream]))
        e = cross_entropy(out.intermediates["conditional"][task], labels[task])
        if kind == "ips":
            n = np.sum(labels[upstream].known & (labels[upstream].values == 1))
            expected = o * (len(o) - 1) / (p_u * n) * e  # one row is padding
        else:
            z = np.concatenate(group(p[task], views["shared"]), axis=-1)
            imputed = sigmoid(tower(p[f"imputation_{task}"], z))
            w = o / p_u
            expected = imputed + w * (e - imputed) + w * (e - imputed) ** 2
        assert_close(out.aux[f"{kind}_{task}"], 0.3 * expected)


@pytest.mark.parametrize(("kind", "expected"), [("ips", 0.2), ("dr", 0.37013)])
def test_the_square_of_escm2_dr_draws_estimates_to_one_half(kind, expected):
    """Of 10 rows alike 5 are clicked, 1 of them with an order: p(order | click) is 0.2."""
    o, y, ones = np.repeat([1.0, 0], 5), np.eye(10)[0], jnp.ones(10)
    labels = Label(y, o > 0, 5 * ones, 10 * ones), Label(o, o >= 0, 5 * ones, 10 * ones)

    @jax.value_and_grad
    def loss(x):
        imputed = jax.nn.sigmoid(x[1] * ones) if kind == "dr" else None
        return counterfactual(x[0] * ones, ones / 2, *labels, Task("order"), imputed).mean()

    least = minimize(jax.jit(loss), np.zeros(2), jac=True, options={"gtol": 1e-10}).x
    np.testing.assert_allclose(sigmoid(least[0]), expected, rtol=1e-4)
    if kind == "dr":  # without the square's gradient in the tower it would be 0.2
        z, q = least[0], 0.2
        np.testing.assert_allclose(sigmoid(z) - q, -2 * q * (1 - q) * z, rtol=1e-6)


def test_escm2_bounds_what_a_rare_click_weighs():
    """The third of three clicked rows has a propensity of almost 0."""
    p, imputed, e = jnp.array([0.5, 0.2, 1e-9]), jnp.full(3, 0.3), np.log(2)
    label = Label(jnp.ones(3), jnp.ones(3, bool), jnp.ones(3), jnp.full(3, 40.0))
    given, w = (jnp.zeros(3), p, label, label, Task("order")), np.minimum(1 / p, 15)
    assert_close(counterfactual(*given, None), 40 * w * e)
    dr = imputed + w * (e - imputed) + w * (e - imputed) ** 2
    assert_close(counterfactual(*given, imputed), dr)


def test_no_gradient_of_escm2s_weights_reaches_the_upstream_tower(model):
    built = model(PAIR, **usual("escm2"))

    def loss(params):
        out = built.module.apply({"params": params}, built.inputs, train=False)
        return out.aux["dr_order"].sum()

    gradient = jax.jit(jax.grad(loss))(built.variables["params"])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["tower_click"]))
    for name in ("tower_order", "imputation_order"):
        assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient[name]))


def test_fdn_keeps_apart_what_is_a_tasks_own_and_what_is_shared(model):
    built = model(PAIR, **usual("fdn", fdn__auxiliary=0.5, fdn__orthogonality=2.0))
    out, (p, views) = built(), built.exact
    auxiliary, norms = 0, 0
    for t in PAIR.task_names:
        own, shared = (group(p[g], views["shared"]) for g in (t, f"shared_{t}"))
        for i, (P, S) in enumerate(zip(own, shared)):
            layer = p[f"auxiliary_{t}_{i}"]
            logit = (P @ layer["kernel"] + layer["bias"])[:, 0]
            auxiliary = auxiliary + cross_entropy(logit, built.inputs.labels[t])
            products = [np.outer(s, q) + 1e-6 for s, q in zip(S, P)]
            norms = norms + np.array([np.sqrt((product**2).sum()) for product in products])
    assert_close(out.aux["auxiliary"], 0.5 * auxiliary)
    assert_close(out.aux["orthogonality"], 2 * norms)
    unlabelled = built(inputs=built.inputs.replace(labels={}))
    assert set(unlabelled.aux) == {"orthogonality"}


def test_fdns_orthogonality_falls_where_it_counts():
    """Over 60 steps on one batch; where its weight is tiny it rises."""
    tasks = (Task("click"), Task("order"))
    data = dataclasses.replace(toy_steps.SCHEMA, tasks=tasks)
    chunk = jax.tree.map(lambda a: jnp.repeat(a[:1], 60, axis=0), toy_steps.batches())

    def norms(weight):
        c = toy_steps.config(
            model__architecture="fdn",
            model__fdn__orthogonality=weight,
            model__fdn__auxiliary=0.0,
            model__dtype="float64",
            optim__learning_rate=1e-2,
            optim__table_init=0.5,
        )
        return np.asarray(toy_steps.placed_run(c, chunk, data)[1]["aux/orthogonality"]) / weight

    counts, hardly = norms(1.0), norms(1e-6)
    np.testing.assert_allclose(counts[0], hardly[0], rtol=1e-9)
    assert counts[-1] < 0.1 * counts[0]
    assert hardly[-1] > counts[0]


def test_fdns_norm_has_a_gradient_where_experts_are_silent():
    zeros = jnp.zeros((3, 4))
    gradient = jax.jit(jax.grad(lambda s: norm_of_products(s, zeros).sum()))(zeros)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("experts", [4, 3])
def test_dselect_k_pays_for_undecided_selectors(experts, model):
    given = usual("dselect_k", experts=f"mlp*{experts}", dselect_k__entropy=0.1)
    built = model(PAIR, **given)
    out, (p, views) = built(), built.exact
    expected = 0
    for t in PAIR.task_names:
        r = selectors(p[f"gate_{t}"], views["shared"], experts, 2)
        expected = expected - (r * np.log(r + 1e-6)).sum((1, 2))
    assert_close(out.aux["entropy"], 0.1 * expected)


def test_dselect_ks_gates_have_a_gradient_however_far_their_input():
    t = jnp.asarray([-1e30, -0.5, 0.1, 1e30], jnp.float32)
    gradient = jax.jit(jax.grad(lambda t: smooth_step(t).sum()))(t)
    np.testing.assert_allclose(gradient, [0, 0, 1.5 - 6 * 0.01, 0], rtol=1e-6)


def test_snrs_switches_are_one_draw_for_all_rows_of_a_step(model):
    built = model(PAIR, **usual("snr", snr__l0=0.5))
    one, again, other = (built(train=True, key=key) for key in (0, 0, 1))
    switches = [
        np.array(list(out.intermediates["effective"]["order"].values()))
        for out in (one, again, other)
    ]
    assert np.all(switches[0] == switches[0][:, :1])  # the same in each row
    np.testing.assert_array_equal(switches[0], switches[1])
    assert np.any(switches[0] != switches[2])
    log_alpha = built.exact[0]["log_alpha"]
    open_ = sigmoid(log_alpha - 0.9 * np.log(0.1 / 1.1)).sum()
    assert_close(one.aux["l0"], np.full(6, 0.5 * open_))


def test_a_drawn_switch_is_a_stretched_concrete_number(model, monkeypatch):
    """z = clip(1.2 s - 0.1, 0, 1) of s = sigmoid((log u - log (1 - u) + log alpha) / 0.9)."""
    built, u = model(PAIR, **usual("snr")), np.array([[0.01, 0.3], [0.6, 0.99]])
    monkeypatch.setattr(jax.random, "uniform", lambda *_: jnp.asarray(u))
    switches = built(train=True, key=0).intermediates["effective"]
    s = sigmoid((np.log(u / (1 - u)) + built.exact[0]["log_alpha"]) / 0.9)
    expected = np.clip(1.2 * s - 0.1, 0, 1)
    assert np.any((expected > 0) & (expected < 1))
    found = [[z[0] for z in switches[task].values()] for task in PAIR.task_names]
    assert_close(found, expected)


def test_a_closed_switch_cuts_its_expert_off(model):
    built = model(PAIR, **usual("snr"))

    def close(params):
        params["log_alpha"] = np.full((2, 2), -10.0)
        params["log_alpha"][0, 1] = 10.0

    out = built(built.edited(close))
    for which in ("gates", "effective"):
        closed, opened = out.intermediates[which]["click"].values()
        assert np.all(closed == 0)
        assert np.all(opened == 1)
    assert len(set(np.asarray(out.logits["order"]))) == 1  # nothing reaches its tower
    assert len(set(np.asarray(out.logits["click"]))) > 1


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("escm2", {"model__escm2__kind": "ips"}), ("snr", {"model__snr__l0": 0.1})],
)
def test_however_a_batch_is_split_the_losses_are_of_all_of_it(architecture, options):
    """Each device and each part has other clicks; SNR's switches are one draw for all."""
    funnel = (Task("click"), Task("order", upstream=("click",)))
    data = dataclasses.replace(toy_steps.SCHEMA, tasks=funnel)
    rng = np.random.default_rng(3)
    given = toy_steps.batches()
    known, rows = (rng.random(m.shape) < 0.8 for m in (given.label_mask, given.row_mask))
    given = given.replace(label_mask=known, row_mask=rows)

    def train(**way):
        c = toy_steps.config(
            **options,
            **way,
            model__architecture=architecture,
            model__dtype="float64",
            optim__tables="sgd",
            data__batch_size=16,
            data__eval_batch_size=16,
        )
        return toy_steps.leaves(toy_steps.placed_run(c, given, data)[0])

    whole = train(parallel__devices=1)
    split = train(parallel__devices=2, parallel__strategy="pmap", train__accumulate=2)
    for a, b in zip(split, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
