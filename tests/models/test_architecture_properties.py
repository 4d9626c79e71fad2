"""Properties that hold for every architecture, whatever its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import CHAIN, CLICK, PAIR, B, D, F, group, schema, sigmoid, tower

from dtn_jax.models import build as architectures
from dtn_jax.models import groups
from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")

MIXED = "mlp+hcnet"  # one reads the fields only, the other codewords too
ALL = [(name, "paper") for name in architectures.ARCHITECTURES] + [("dtn", "released")]
TASKS = set(CHAIN.task_names)
READERS = {  # who reads through gates; with a second level there is a stream that is shared
    "dtn": TASKS,
    "mmoe": TASKS,
    "stem": TASKS,
    "ple": TASKS | {"shared"},
    "adatt": TASKS | {"shared"},
    "aitm": {"order", "cart"},
    "shared_bottom": set(),
    "single_task": set(),
    "esmm": set(),
}


@pytest.mark.parametrize(("architecture", "fusion"), ALL)
def test_permuting_examples_permutes_outputs(architecture, fusion, model):
    built = model(PAIR, architecture=architecture, fusion=fusion, experts=MIXED)
    order = np.random.default_rng(0).permutation(B)
    out = built()
    permuted = built(inputs=jax.tree.map(lambda leaf: leaf[order], built.inputs))
    for t in PAIR.task_names:
        np.testing.assert_allclose(permuted.logits[t], out.logits[t][order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("architecture", "fusion"), ALL)
def test_gates_are_reported_alike(architecture, fusion, model):
    """Named by who reads through them; of experts (in AITM of tasks); weights that sum to 1."""
    out = model(CHAIN, architecture=architecture, fusion=fusion)()
    gates = out.intermediates.get("gates", {})
    readers = {gate.partition("/")[0] for gate in gates}
    assert readers <= {*CHAIN.task_names, "shared"}
    assert readers == READERS.get(architecture, readers)
    sources = CHAIN.task_names if architecture == "aitm" else out.intermediates["experts"]
    for weights in gates.values():
        assert set(weights) <= set(sources)
        assert all(np.all(w >= 0) for w in weights.values())
        np.testing.assert_allclose(sum(weights.values()), np.ones(B), rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "fusion"),
    [("dtn", "paper"), ("dtn", "released"), ("mmoe", ""), ("ple", ""), ("stem", ""), ("adatt", "")],
)
def test_effective_weights_are_all_that_scales_an_expert(architecture, fusion, model):
    """A tower's input is the sum of the experts' outputs, each times its effective weight."""
    built = model(CHAIN, architecture=architecture, fusion=fusion or "paper")
    out, (p, _) = built(), built.exact
    gates, effective = (out.intermediates.get(name, {}) for name in ("gates", "effective"))
    scaled = {"dtn": {"cart/others", "order/others"}, "adatt": set(gates)}
    assert set(effective) == scaled.get(architecture, set())
    for task in CHAIN.task_names:
        own = {gate: w for gate, w in gates.items() if gate.partition("/")[0] == task}
        if architecture in ("ple", "adatt"):  # the last level's alone
            own = {gate: w for gate, w in own.items() if gate.endswith("_1")}
        sides = []
        for gate, weights in sorted(own.items(), reverse=True):  # DTN's `own` before its `others`
            assert set(effective.get(gate, weights)) == set(weights)
            parts = effective.get(gate, weights).items()
            experts = out.intermediates["experts"]
            sides.append(sum(np.asarray(w)[:, None] * np.asarray(experts[m]) for m, w in parts))
        z = np.concatenate(sides, axis=-1) if fusion == "paper" else sum(sides)
        np.testing.assert_allclose(tower(p[f"tower_{task}"], z), out.logits[task], rtol=1e-4)


def test_without_tsn_nothing_scales_experts_after_the_gates(model):
    assert model(CHAIN, dtn__tsn=False)().intermediates["effective"] == {}


def test_gate_weights_are_reported_by_expert(model):
    built = model(PAIR, group_experts="shared=mlp*3")
    out = built()
    own = ["order/mlp_0", "order/mlp_1"]
    others = ["click/mlp_0", "click/mlp_1", *(f"shared/mlp_{m}" for m in range(3))]
    gates = out.intermediates["gates"]
    assert list(gates["order/own"]) == own
    assert list(gates["order/others"]) == others
    assert set(out.intermediates["experts"]) == set(own + others)
    p, views = built.exact
    _, second = group(p["click"], views["shared"])
    np.testing.assert_allclose(out.intermediates["experts"]["click/mlp_1"], second, rtol=1e-4)
    for t in PAIR.task_names:
        np.testing.assert_allclose(
            out.intermediates["probabilities"][t], sigmoid(out.logits[t]), rtol=1e-5
        )


def test_a_group_with_zero_gate_weight_changes_nothing(model):
    built = model(PAIR, dtn__tsn=False)  # with it, order also sees the group through click

    def close(params):  # to the shared group, experts 2 and 3 of the gate's others
        gate = params["gate_order_others"]["scores"]
        gate["bias"] = gate["bias"].at[2:].set(-1e9)

    def close_and_change(params):
        close(params)
        params["shared"] = jax.tree.map(lambda leaf: leaf + 1, params["shared"])

    closed, changed = built(built.edited(close)), built(built.edited(close_and_change))
    assert np.all(closed.intermediates["gates"]["order/others"]["shared/mlp_0"] == 0)
    np.testing.assert_array_equal(changed.logits["order"], closed.logits["order"])
    assert np.all(changed.logits["click"] != closed.logits["click"])


@pytest.mark.parametrize("fusion", ["paper", "released"])
def test_no_gradient_reaches_the_upstream_tower(fusion, model):
    built = model(CHAIN, fusion=fusion, experts="mlp")

    def total(params, task):
        out = built.module.apply({"params": params}, built.inputs, train=False)
        return jnp.sum(out.logits[task])

    grad = jax.jit(jax.grad(total), static_argnums=1)
    from_order = grad(built.variables["params"], "order")
    for part in ("tower_click", "tower_cart", "gate_click_own", "gate_cart_others"):
        assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(from_order[part]))
    for part in ("tower_order", "cart", "click", "shared"):
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(from_order[part]))


@pytest.mark.parametrize("fusion", ["paper", "released"])
def test_what_the_upstream_probability_moves(fusion, model):
    linear = {"experts": "gdcn", "tower_hidden": (), "fusion": fusion}  # no dead unit hides it
    built = model(CHAIN, **linear)

    def raise_click(params):
        logit = params["tower_click"]["logit"]
        logit["bias"] = logit["bias"] + 2

    low, high = built(), built(built.edited(raise_click))
    for name in ("click", "cart", "order"):  # order through cart's probability
        assert np.all(high.logits[name] != low.logits[name])
    gates = [out.intermediates["gates"]["cart/others"] for out in (low, high)]
    moved = any(np.any(gates[1][name] != gates[0][name]) for name in gates[0])
    assert moved == (fusion == "released")
    # Order's view of click's experts: click is not a direct upstream task.
    without = model(schema(Task("order"), Task("cart"), CLICK), **linear)
    assert np.all(without(built.variables).logits["order"] != low.logits["order"])


@pytest.mark.parametrize("architecture", list(architectures.ARCHITECTURES))
@pytest.mark.parametrize("rate", ["dropout", "embedding_dropout"])
def test_dropout(rate, architecture, model):
    built = model(PAIR, architecture=architecture, experts="mlp", expert_dim=20, **{rate: 0.5})
    still, one, again, two = (
        built(train=train, key=key).logits["order"]
        for train, key in ((False, 0), (True, 0), (True, 0), (True, 1))
    )
    np.testing.assert_array_equal(one, again)
    assert np.any(one != two)
    assert np.any(one != still)
    np.testing.assert_array_equal(built(key=1).logits["order"], still)


def test_padding_never_changes_a_result(model):
    built = model(PAIR, experts=MIXED, normalisation="batch")
    fields = built.inputs.fields["shared"].at[B - 1].set(50.0)  # the masked row
    padded = built.inputs.replace(fields={"shared": fields})
    for train in (False, True):
        a, b = built(train=train), built(inputs=padded, train=train)
        for t in PAIR.task_names:
            np.testing.assert_array_equal(b.logits[t][: B - 1], a.logits[t][: B - 1])


@pytest.mark.parametrize(("architecture", "fusion"), ALL)
def test_bfloat16_computes_but_does_not_store(architecture, fusion, model):
    built = model(PAIR, architecture=architecture, fusion=fusion, experts=MIXED, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(built.variables)} == {jnp.dtype("float32")}
    out = built()
    assert {f.dtype for f in out.intermediates["experts"].values()} == {jnp.dtype("bfloat16")}
    exact = model(PAIR, architecture=architecture, fusion=fusion, experts=MIXED)()
    for t in PAIR.task_names:
        assert out.logits[t].dtype == jnp.float32
        scale = np.max(np.abs(exact.logits[t]))
        np.testing.assert_allclose(out.logits[t], exact.logits[t], rtol=0, atol=0.1 * scale)


def test_every_hcnet_has_its_own_codebook(model):
    built = model(PAIR, architecture="ple", experts="hcnet", group_experts="order=hcnet*2+mlp")
    count = built.inputs.codewords.shape[3]
    assert count == 2 * (1 + 2 + 1)
    names = [name for name in built().intermediates["experts"] if "level_0" in name]
    assert len(names) == 5  # one of them is the MLP
    plain = built().intermediates["experts"]
    owners = []
    for codebook in range(count // 2):  # the first level, whose inputs are the fields
        codewords = built.inputs.codewords.at[:, :, :, codebook].add(1.0)
        moved = built(inputs=built.inputs.replace(codewords=codewords)).intermediates["experts"]
        (owner,) = [name for name in names if np.any(moved[name] != plain[name])]
        owners.append(owner)
    assert owners == [
        "level_0_click/hcnet_0",
        "level_0_order/hcnet_0",
        "level_0_order/hcnet_1",
        "level_0_shared/hcnet_0",
    ]


@pytest.mark.parametrize("architecture", ["shared_bottom", "esmm", "dtn", "ple"])
def test_first_layers_that_read_the_same_input_are_one_product(model, monkeypatch, architecture):
    def widths(made):  # of the products with the flat fields
        traced = jax.make_jaxpr(lambda: made.module.apply(made.variables, made.inputs, False))()
        dots = [e for e in traced.jaxpr.eqns if e.primitive.name == "dot_general"]
        return [e.outvars[0].aval.shape[1] for e in dots if e.invars[0].aval.shape == (B, F * D)]

    joined = model(PAIR, architecture=architecture, mlp__hidden=(7,))
    found, one = joined(), widths(joined)
    monkeypatch.setattr(groups, "WIDEST_JOINED", 0)
    apart = model(PAIR, architecture=architecture, mlp__hidden=(7,))
    alone = widths(apart)
    assert sum(one) == sum(alone)
    assert len(one) <= len(alone) - 1
    assert max(one) == alone.count(7) * 7  # the experts' layers are one product
    for task, logit in apart().logits.items():
        np.testing.assert_allclose(found.logits[task], logit, rtol=1e-5, atol=1e-6)
