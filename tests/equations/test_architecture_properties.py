"""Properties that hold for every architecture, whatever its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import CHAIN, PAIR, B, exact, tower, usual

from dtn_jax.models import dropout
from dtn_jax.models.architectures import ARCHITECTURES

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

ALL = [(name, "paper") for name in ARCHITECTURES] + [("dtn", "released")]
TASKS = set(CHAIN.task_names)
GATED = ("dtn", "mmoe", "ple", "stem", "adatt", "omoe", "dselect_k")  # to a tower of each task


def of_dtn(fusion):
    """As in test_architectures.py, so that models are shared."""
    return {} if fusion == "paper" else {"fusion": fusion}


@pytest.mark.parametrize(("architecture", "fusion"), ALL)
def test_gates_are_reported_alike(architecture, fusion, model):
    """Named by who reads through them; of experts (in AITM and cross-stitch of tasks, in MetaHeac
    of critics too); weights that sum to 1."""
    out = model(CHAIN, **usual(architecture, **of_dtn(fusion)))()
    gates = out.intermediates.get("gates", {})
    readers = {gate.partition("/")[0] for gate in gates}
    assert readers <= TASKS | {"shared"}
    assert readers >= TASKS or architecture not in GATED
    of_tasks = architecture in ("aitm", "cross_stitch")
    sources = CHAIN.task_names if of_tasks else out.intermediates["experts"]
    if architecture == "metaheac":
        sources = [*sources, *(f"shared/critic_{n}" for n in range(5))]
    for weights in gates.values():
        read = sources or {name for name in weights if name.startswith(("token/", "field/"))}
        assert set(weights) <= set(read)
        assert all(np.all(w >= 0) for w in weights.values())
        np.testing.assert_allclose(sum(weights.values()), np.ones(B), rtol=1e-10)


@pytest.mark.parametrize(("architecture", "fusion"), ALL)
def test_no_label_reaches_a_logit(architecture, fusion, model):
    built = model(CHAIN, **usual(architecture, **of_dtn(fusion)))
    for label in (
        {},
        {
            t: jax.tree.map(lambda a: ~a if a.dtype == bool else a + 1, label)
            for t, label in built.inputs.labels.items()
        },
    ):
        logits = built(inputs=built.inputs.replace(labels=label)).logits
        jax.tree.map(np.testing.assert_array_equal, logits, built().logits)


@pytest.mark.parametrize(("architecture", "fusion"), [c for c in ALL if c[0] in GATED])
def test_effective_weights_are_all_that_scales_an_expert(architecture, fusion, model):
    """A tower's input is the sum of the experts' outputs, each times its effective weight."""
    built = model(CHAIN, **usual(architecture, **of_dtn(fusion)))
    out, (p, _) = built(), built.exact
    gates, effective = (out.intermediates.get(name, {}) for name in ("gates", "effective"))
    scaled = {"dtn": {"cart/others", "order/others"}, "adatt": set(gates)}
    assert set(effective) == scaled.get(architecture, set())
    for task in CHAIN.task_names:
        own = {gate: w for gate, w in gates.items() if gate.partition("/")[0] == task}
        if f"{task}/level_1" in own:  # the last level's alone
            own = {f"{task}/level_1": own[f"{task}/level_1"]}
        sides = []
        for gate, weights in sorted(own.items(), reverse=True):  # DTN's `own` before its `others`
            assert set(effective.get(gate, weights)) == set(weights)
            parts = effective.get(gate, weights).items()
            experts = out.intermediates["experts"]
            sides.append(sum(np.asarray(w)[:, None] * np.asarray(experts[m]) for m, w in parts))
        z = np.concatenate(sides, axis=-1) if fusion == "paper" else sum(sides)
        np.testing.assert_allclose(tower(p[f"tower_{task}"], z), out.logits[task], rtol=1e-9)


@pytest.mark.parametrize("architecture", ["snr", "cross_stitch"])
def test_weights_that_need_not_sum_to_1_are_effective_and_their_shares_gates(architecture, model):
    """A tower's input is the sum of the experts' outputs, each times its effective weight."""
    built = model(CHAIN, **usual(architecture))
    out, (p, _) = built(), built.exact
    experts = exact(out.intermediates["experts"])
    for task in CHAIN.task_names:
        gate = f"{task}/level_1" if architecture == "cross_stitch" else task
        weights = exact(out.intermediates["effective"][gate])
        total = sum(abs(w) for w in weights.values())
        for source, share in out.intermediates["gates"][gate].items():
            np.testing.assert_allclose(share, abs(weights[source]) / total, rtol=1e-12)
        if architecture == "cross_stitch":  # a source is a task, with all of its experts
            last = {t: [f"level_1_{t}/mlp_{m}" for m in range(2)] for t in CHAIN.task_names}
            experts = experts | {
                t: np.concatenate([experts[m] for m in paths], axis=-1) for t, paths in last.items()
            }
        z = {source: w[:, None] * experts[source] for source, w in weights.items()}
        if architecture == "snr":
            z = {m: x @ p[f"route_{task}_{m.replace('/', '_')}"]["kernel"] for m, x in z.items()}
        logit = tower(p[f"tower_{task}"], sum(z.values()))
        np.testing.assert_allclose(logit, out.logits[task], rtol=1e-9)


@pytest.mark.parametrize(
    "architecture",
    [a if a == "dtn" else pytest.param(a, marks=pytest.mark.nightly) for a in ARCHITECTURES],
)
def test_dropout(architecture, model):
    """Each of both rates drops something, by its key and in training alone.

    Training draws SNR's switches too, by the same key.
    """
    rates = {"dropout": 0.5, "embedding_dropout": 0.5}
    built = model(PAIR, **usual(architecture, experts="mlp", group_experts="", **rates))

    @jax.jit
    def train(key, rates):
        with dropout.rates(rates):
            rngs = {"dropout": jax.random.key(key, impl="unsafe_rbg")}
            given = built.variables, built.inputs
            return built.module.apply(*given, train=True, rngs=rngs).logits["order"]

    still = train(0, dict.fromkeys(rates, 0.0))
    if architecture != "snr":
        np.testing.assert_allclose(still, built().logits["order"], rtol=1e-10)
    for rate in rates:
        on = dict.fromkeys(rates, 0.0) | {rate: 0.5}
        one, again, two = (train(key, on) for key in (0, 0, 1))
        np.testing.assert_array_equal(one, again)
        assert np.any(one != two)
        assert np.any(one != still)


@pytest.mark.parametrize(
    ("architecture", "fusion"),
    [
        pytest.param(*case, marks=pytest.mark.slow if case[0] == "dtn" else pytest.mark.nightly)
        for case in ALL
    ],
)
def test_bfloat16_computes_but_does_not_store(architecture, fusion, model):
    given = usual(architecture, **of_dtn(fusion))
    exact = model(CHAIN, **given)()
    built = model(CHAIN, **given | {"dtype": "bfloat16"})
    stored = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), built.variables)
    shapes = jax.eval_shape(lambda: built.module.init(jax.random.key(0), built.inputs, train=False))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    out = built(stored)
    assert {f.dtype for f in out.intermediates["experts"].values()} <= {jnp.dtype("bfloat16")}
    for t in CHAIN.task_names:
        assert out.logits[t].dtype == jnp.float32
        scale = np.max(np.abs(exact.logits[t]))
        np.testing.assert_allclose(out.logits[t], exact.logits[t], rtol=0, atol=0.1 * scale)


def test_every_hcnet_has_its_own_codebook(model):
    built = model(PAIR, **usual("ple", experts="hcnet", group_experts="order=hcnet*2+mlp"))
    count = built.inputs.codewords.shape[3]
    assert count == 2 * (1 + 2 + 1)
    plain = built().intermediates["experts"]
    names = [name for name in plain if "level_0" in name]
    assert len(names) == 5  # one of them is the MLP
    owners = []
    for codebook in range(count // 2):  # the first level, whose inputs are the fields
        codewords = built.inputs.codewords.at[:, :, :, codebook].add(1.0)
        moved = built(inputs=built.inputs.replace(codewords=codewords)).intermediates["experts"]
        (owner,) = [name for name in names if np.any(moved[name] != plain[name])]
        owners.append(owner.removeprefix("level_0_"))
    assert owners == ["click/hcnet_0", "order/hcnet_0", "order/hcnet_1", "shared/hcnet_0"]


@pytest.mark.parametrize("shape", [(8,), (8, 2, 5, 3)])
def test_each_number_has_the_dropout_of_its_place_in_the_batch(shape):
    """In whatever form it is drawn: an old run resumes with the same draws."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    rngs, module = {"dropout": jax.random.key(1)}, dropout.Dropout(0.3)
    found = jax.jit(lambda x: module.apply({}, x, True, rngs=rngs))(x)
    key = module.bind({}, rngs=rngs).make_rng("dropout")
    kept = np.asarray(jax.random.bernoulli(key, 1 - np.float32(0.3), shape))
    np.testing.assert_allclose(found, np.where(kept, np.asarray(x) / 0.7, 0), rtol=1e-6)
    assert 0 < kept.mean() < 1
