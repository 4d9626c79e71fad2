"""Each architecture against its equations in NumPy, properties, and every option of a model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.base import get_config
from dtn_jax import architectures
from dtn_jax.interface import Inputs
from dtn_jax.schema import Field, Schema, Task, UserError

B, F, D, H = 6, 3, 2, 5
FIELDS = tuple(Field(f"field_{i}") for i in range(F))


def schema(*tasks):
    return Schema("test", FIELDS, tasks)


CLICK, ORDER = Task("click"), Task("order", upstream=("click",))
PAIR = schema(CLICK, ORDER)
# Listed against the graph's direction: the order of computation is not that of the list.
CHAIN = schema(Task("order", upstream=("cart",)), Task("cart", upstream=("click",)), CLICK)


def options(**changes):
    model = get_config().model
    model.expert_dim, model.tower_hidden, model.mlp.hidden, model.experts = H, (8,), (6,), "mlp*2"
    model.masknet.block_dim, model.masknet.mask_hidden, model.masknet.hidden = 4, 3, (4,)
    model.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return model


class Model:
    """A built architecture with random variables and inputs."""

    def __init__(self, data, random_variables, **changes):
        model = options(**changes)
        dtype = jnp.float64 if model.dtype == "float64" else jnp.float32
        self.schema = data
        self.module = architectures.build(model, data)
        rng = np.random.default_rng(0)
        codebooks = architectures.codebooks(model, data)
        codewords = rng.normal(size=(B, F * (F - 1) // 2, 2, codebooks, D))
        self.inputs = Inputs(
            fields={
                view: jnp.asarray(rng.normal(size=(B, F, D)), dtype)
                for view in architectures.views(model.architecture, data)
            },
            codewords=jnp.asarray(codewords, dtype) if codebooks else None,
            row_mask=jnp.arange(B) < B - 1,
        )
        self.variables = random_variables(self.module, self.inputs, train=False)

        @functools.partial(jax.jit, static_argnums=2)
        def apply(variables, inputs, train, key):
            # Quick to compile, unlike the default generator.
            rngs = {"dropout": jax.random.key(key, impl="unsafe_rbg")}
            return self.module.apply(
                variables, inputs, train=train, rngs=rngs, mutable=["batch_stats"]
            )[0]

        self.apply = apply

    def __call__(self, variables=None, inputs=None, train=False, key=0):
        return self.apply(variables or self.variables, inputs or self.inputs, train, key)

    def edited(self, edit):
        """The variables after `edit(params)` on a copy of the parameters."""
        variables = jax.tree.map(lambda leaf: leaf, self.variables)  # new dicts, old arrays
        edit(variables["params"])
        return variables

    @property
    def exact(self):
        """(params, {view: x}) for NumPy."""
        wide = lambda leaf: np.asarray(leaf, np.float64)  # noqa: E731
        params = jax.tree.map(wide, self.variables["params"])
        return params, {v: wide(x).reshape(B, -1) for v, x in self.inputs.fields.items()}


@pytest.fixture
def model(random_variables):
    return lambda data, **changes: Model(data, random_variables, **changes)


@pytest.fixture(autouse=True, scope="module")
def quick_to_compile():
    """Hundreds of tiny models: nearly all of their time is XLA's."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# The equations. x is [B, W]; f is a list of [B, H].


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0)


def relu(x):
    return np.maximum(x, 0)


def softmax(scores):
    e = np.exp(scores)
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mlp(p, x):
    return relu(dense(p["output"], relu(dense(p["hidden_0"], x))))


def group(p, x):
    return [mlp(p[f"mlp_{m}"], x) for m in range(len(p))]


def tower(p, z):
    return dense(p["logit"], relu(dense(p["hidden_0"], z)))[:, 0]


def weighted(weights, f):
    return sum(weights[:, m : m + 1] * f[m] for m in range(len(f)))


def dtn(p, x, data, fusion, tsn=True):
    names = [name for name in (*data.task_names, "shared") if name in p]
    f = {name: group(p[name], x) for name in names}
    tasks = {task.name: task for task in data.tasks}
    logits = {}
    for t in data.task_order():
        own, others = f.get(t, []), []
        for name in names:
            if name == t:
                continue
            scaled = tsn and name in tasks[t].upstream and tasks[name].kind == "binary"
            p_u = sigmoid(logits[name])[:, None] if scaled else 1.0
            others += [p_u * expert for expert in f[name]]
        z = []
        for side, experts in (("own", own), ("others", others)):
            if not experts:
                continue
            gate = p[f"gate_{t}_{side}"]
            if fusion == "paper":
                assert "bias" in gate["scores"]
                weights = softmax(dense(gate["scores"], x))
            else:
                scores = [dense(gate[f"score_{m}"], e)[:, 0] for m, e in enumerate(experts)]
                weights = softmax(relu(np.stack(scores, axis=-1)))
            z.append(weighted(weights, experts))
        z = np.concatenate(z, axis=-1) if fusion == "paper" else sum(z)
        logits[t] = tower(p[f"tower_{t}"], z)
    return logits


def shared_bottom(p, x, data):
    z = np.concatenate(group(p["shared"], x), axis=-1)
    return {t: tower(p[f"tower_{t}"], z) for t in data.task_names}


def single_task(p, views, data):
    return {
        t: tower(p[f"tower_{t}"], np.concatenate(group(p[t], views[t]), axis=-1))
        for t in data.task_names
    }


def mmoe(p, x, data):
    f = group(p["shared"], x)
    logits = {}
    for t in data.task_names:
        assert "bias" not in p[f"gate_{t}"]["scores"]
        z = weighted(softmax(dense(p[f"gate_{t}"]["scores"], x)), f)
        logits[t] = tower(p[f"tower_{t}"], z)
    return logits


def ple(p, x, data, levels):
    names = (*data.task_names, "shared")
    s = dict.fromkeys(names, x)
    for level in range(levels):
        f = {name: group(p[f"level_{level}_{name}"], s[name]) for name in names}
        below, s = s, {}
        for t in names if level < levels - 1 else data.task_names:
            seen = [
                e for name in names if t in ("shared", name) or name == "shared" for e in f[name]
            ]
            gate = p[f"gate_{level}_{t}"]["scores"]
            assert "bias" not in gate
            s[t] = weighted(softmax(dense(gate, below[t])), seen)
    return {t: tower(p[f"tower_{t}"], s[t]) for t in data.task_names}


def assert_logits(precision, built, expected):
    got = built().logits
    assert set(got) == set(expected) == set(built.schema.task_names)
    for t in expected:
        assert expected[t].shape == (B,)
        assert len(set(expected[t])) == B  # no dead unit hides a difference
        precision.assert_close(got[t], expected[t])


GRAPHS = {
    "chain": CHAIN,
    "one task": schema(CLICK),
    "pair": PAIR,
    "several": schema(CLICK, Task("cart"), Task("order", upstream=("click", "cart"))),
    "regression": schema(
        CLICK, Task("watch", kind="regression"), Task("order", upstream=("click", "watch"))
    ),
}


def in_float64(first, *others):
    """Cases of a test: the first in both precisions, the others, which share its code, in one."""
    return [(first, "float32"), *((case, "float64") for case in (first, *others))]


@pytest.mark.parametrize("fusion", ["paper", "released"])
@pytest.mark.parametrize(("graph", "precision"), in_float64(*GRAPHS), indirect=["precision"])
def test_dtn(graph, fusion, precision, model):
    data = GRAPHS[graph]
    built = model(
        data,
        dtype=precision.dtype.name,
        fusion=fusion,
        group_experts="shared=mlp*3,click=mlp",
    )
    p, views = built.exact
    assert [len(p[g]) for g in ("click", "shared")] == [1, 3]
    assert_logits(precision, built, dtn(p, views["shared"], data, fusion))


@pytest.mark.parametrize("fusion", ["paper", "released"])
@pytest.mark.parametrize("switch", ["tsn", "shared_group", "task_groups"])
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_dtn_ablations(switch, fusion, precision, model):
    changes = {"dtype": precision.dtype.name, "fusion": fusion, f"dtn__{switch}": False}
    built = model(CHAIN, **changes)
    p, views = built.exact
    assert ("shared" in p) == (switch != "shared_group")
    assert ("click" in p) == (switch != "task_groups")
    sides = 1 if fusion == "released" or switch == "task_groups" else 2
    assert p["tower_order"]["hidden_0"]["kernel"].shape[0] == sides * H
    assert_logits(precision, built, dtn(p, views["shared"], CHAIN, fusion, tsn=switch != "tsn"))


@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_dtn_one_task_alone(precision, model):
    data = GRAPHS["one task"]
    changes = {"dtype": precision.dtype.name, "dtn__shared_group": False}
    built = model(data, **changes)
    p, views = built.exact
    assert_logits(precision, built, dtn(p, views["shared"], data, "paper"))


def test_shared_bottom(precision, model):
    built = model(CHAIN, dtype=precision.dtype.name, architecture="shared_bottom")
    p, views = built.exact
    assert_logits(precision, built, shared_bottom(p, views["shared"], CHAIN))


def test_single_task(precision, model):
    built = model(
        PAIR,
        dtype=precision.dtype.name,
        architecture="single_task",
        group_experts="order=mlp*3",
    )
    p, views = built.exact
    assert set(views) == {"click", "order"}
    assert_logits(precision, built, single_task(p, views, PAIR))


def test_mmoe(precision, model):
    built = model(CHAIN, dtype=precision.dtype.name, architecture="mmoe", experts="mlp*4")
    p, views = built.exact
    assert_logits(precision, built, mmoe(p, views["shared"], CHAIN))


@pytest.mark.parametrize(("levels", "precision"), in_float64(2, 1, 3), indirect=["precision"])
def test_ple(levels, precision, model):
    built = model(
        PAIR,
        dtype=precision.dtype.name,
        architecture="ple",
        ple__levels=levels,
        group_experts="shared=mlp,order=mlp*3",
    )
    p, views = built.exact
    assert_logits(precision, built, ple(p, views["shared"], PAIR, levels))


def test_gates_and_experts_read_the_normalised_input(precision, model):
    built = model(
        PAIR,
        dtype=precision.dtype.name,
        architecture="mmoe",
        normalisation="batch",
    )
    p, views = built.exact
    affine = p["input"]["normalisation"]["batch"]
    running = built.variables["batch_stats"]["input"]["normalisation"]["batch"]
    mean, var = (np.asarray(running[name], np.float64) for name in ("mean", "var"))
    x = (views["shared"] - mean) / np.sqrt(var + 1e-3) * affine["gamma"] + affine["beta"]
    assert_logits(precision, built, mmoe(p, x, PAIR))


# Properties

MIXED = "mlp+hcnet"  # one reads the fields only, the other codewords too
ALL = [(name, "paper") for name in architectures.ARCHITECTURES] + [("dtn", "released")]


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
    readers = {"order", "cart"} if architecture == "aitm" else {"order", "cart", "click"}
    levelled = {"ple", "adatt"}  # with a second level, and so a stream that is shared
    if architecture in ("shared_bottom", "single_task", "esmm"):
        readers = set()
    assert {gate.partition("/")[0] for gate in gates} == readers | (
        {"shared"} if architecture in levelled else set()
    )
    sources = CHAIN.task_names if architecture == "aitm" else out.intermediates["experts"]
    for weights in gates.values():
        assert set(weights) <= set(sources)
        assert all(np.all(w >= 0) for w in weights.values())
        np.testing.assert_allclose(sum(weights.values()), np.ones(B), rtol=1e-5)


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


# Options

# What to build, then the option that changes it. Options that no module reads: embedding_dim,
# upstream, and those of hcnet's addresses.
READ_ELSEWHERE = {"embedding_dim", "upstream"} | {
    f"hcnet.{name}" for name in ("codebook_rows", "hashes", "fields", "seed")
}
FLIPS = {
    "architecture": ({}, "mmoe"),
    "experts": ({}, "mlp"),
    "group_experts": ({}, "shared=mlp*3"),
    "expert_dim": ({}, 7),
    "tower_hidden": ({}, (4, 4)),
    "dropout": ({}, 0.5),
    "embedding_dropout": ({}, 0.5),
    "normalisation": ({}, "layer"),
    "dtype": ({}, "bfloat16"),
    "fusion": ({}, "released"),
    "dtn.tsn": ({}, False),
    "dtn.shared_group": ({}, False),
    "dtn.task_groups": ({}, False),
    "ple.levels": ({"architecture": "ple"}, 3),
    "aitm.calibrator": ({"architecture": "aitm", "experts": "mlp*3"}, 0.3),
    "stem.levels": ({"architecture": "stem"}, 2),
    "adatt.levels": ({"architecture": "adatt"}, 3),
    "adatt.shared_group": ({"architecture": "adatt"}, False),
    "mlp.hidden": ({}, ()),
    "gdcn.layers": ({"experts": "gdcn"}, 3),
    "masknet.kind": ({"experts": "masknet"}, "serial"),
    "masknet.blocks": ({"experts": "masknet"}, 3),
    "masknet.block_dim": ({"experts": "masknet"}, 5),
    "masknet.mask_hidden": ({"experts": "masknet"}, 5),
    "masknet.hidden": ({"experts": "masknet"}, ()),
    "hcnet.shrinking": ({"experts": "hcnet"}, "sum"),
    "dcnv2.layers": ({"experts": "dcnv2"}, 3),
    "dcnv2.rank": ({"experts": "dcnv2"}, 1),
}


def flat_keys(config, prefix=""):
    for key, value in config.items():
        if hasattr(value, "items"):
            yield from flat_keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_every_option_has_a_flip():
    assert set(flat_keys(get_config().model)) == set(FLIPS) | READ_ELSEWHERE


@pytest.mark.parametrize("key", FLIPS)
def test_flipping_an_option_changes_the_model(key, model):
    base, value = FLIPS[key]
    before, after = model(PAIR, **base), model(PAIR, **{**base, key: value})
    shapes = [jax.tree.map(jnp.shape, built.variables) for built in (before, after)]
    if shapes[0] == shapes[1]:  # then the numbers differ
        a, b = before(train=True), after(train=True)
        same = jax.tree.map(np.array_equal, (a.logits, a.aux), (b.logits, b.aux))
        assert not all(jax.tree.leaves(same))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("architecture", "dnt", "unknown architecture 'dnt'. Did you mean 'dtn'"),
        ("experts", "mlp+gcn", "unknown expert 'gcn'"),
        ("experts", "", "unknown expert ''"),
        ("group_experts", "sharde=mlp", "unknown group of dtn 'sharde'. Did you mean 'shared'"),
        ("group_experts", "shared", "expected group=experts, got 'shared'"),
        ("group_experts", "shared=mpl", "unknown expert 'mpl'. Did you mean 'mlp'"),
        ("normalisation", "group", "The choices are: none, batch, layer"),
        ("fusion", "sum", "The choices are: paper, released"),
        ("dtype", "float16", "The choices are: float32, bfloat16, float64"),
        ("dtype", "float64", "JAX_ENABLE_X64"),
        ("masknet.kind", "both", "unknown model.masknet.kind 'both'"),
        ("hcnet.shrinking", "mean", "unknown model.hcnet.shrinking 'mean'"),
        ("expert_dim", 0, "model.expert_dim: expected a whole number >= 1, got 0"),
        ("gdcn.layers", 0, "model.gdcn.layers"),
        ("masknet.blocks", -1, "model.masknet.blocks"),
        ("masknet.block_dim", 0, "model.masknet.block_dim"),
        ("masknet.mask_hidden", 0, "model.masknet.mask_hidden"),
        ("masknet.hidden", (0,), "model.masknet.hidden"),
        ("mlp.hidden", (8, 0), "model.mlp.hidden"),
        ("tower_hidden", (-1,), "model.tower_hidden"),
        ("dcnv2.layers", 0, "model.dcnv2.layers"),
        ("dcnv2.rank", -1, "model.dcnv2.rank: expected a whole number >= 0"),
        ("dropout", 1.0, r"model.dropout: expected a rate in \[0, 1\), got 1.0"),
        ("embedding_dropout", -0.1, "model.embedding_dropout"),
    ],
)
def test_a_wrong_option_is_a_user_error(key, value, message):
    with pytest.raises(UserError, match=message):
        architectures.build(options(**{key: value}), PAIR)


def test_other_wrong_models_are_user_errors():
    with pytest.raises(UserError, match="expected a whole number >= 1, got 0"):
        architectures.build(options(architecture="ple", ple__levels=0), PAIR)
    with pytest.raises(UserError, match="both off"):
        architectures.build(options(dtn__task_groups=False, dtn__shared_group=False), PAIR)
    switched_off = options(dtn__shared_group=False, group_experts="shared=mlp")
    with pytest.raises(UserError, match="The choices are: order, cart, click"):
        architectures.build(switched_off, CHAIN)
    with pytest.raises(UserError, match="a task cannot be called 'shared'"):
        architectures.build(options(), schema(Task("shared")))


def test_groups_of_each_architecture():
    groups = {
        "dtn": ["click", "order", "shared"],
        "ple": ["click", "order", "shared"],
        "mmoe": ["shared"],
        "shared_bottom": ["shared"],
        "single_task": ["click", "order"],
        "esmm": ["click", "order"],
        "aitm": ["click", "order"],
        "stem": ["click", "order", "shared"],
        "adatt": ["click", "order", "shared"],
    }
    views = {"single_task": ("click", "order"), "stem": ("click", "order", "shared")}
    assert set(groups) == set(architectures.ARCHITECTURES)
    for name, expected in groups.items():
        assert list(architectures.layout(options(architecture=name), PAIR)[0]) == expected
        assert architectures.views(name, PAIR) == views.get(name, ("shared",))
    with pytest.raises(UserError, match="unknown architecture"):
        architectures.views("moe", PAIR)


def test_counting_codebooks():
    counts = {"dtn": 3, "ple": 6, "mmoe": 1, "shared_bottom": 1, "single_task": 2}
    for name, expected in counts.items():
        assert architectures.codebooks(options(architecture=name, experts="mlp+hcnet"), PAIR) == (
            expected
        )
    mixed = options(experts="mlp", group_experts="shared=hcnet*2+mlp,click=hcnet")
    assert architectures.codebooks(mixed, PAIR) == 3
    assert architectures.codebooks(options(), PAIR) == 0


@pytest.mark.parametrize("architecture", ["mmoe", "ple"])
def test_first_layers_that_read_the_same_input_are_one_product(model, monkeypatch, architecture):
    def widths(made):  # of the products with the flat fields
        traced = jax.make_jaxpr(lambda: made.module.apply(made.variables, made.inputs, False))()
        dots = [e for e in traced.jaxpr.eqns if e.primitive.name == "dot_general"]
        return [e.outvars[0].aval.shape[1] for e in dots if e.invars[0].aval.shape == (B, F * D)]

    joined = model(PAIR, architecture=architecture, mlp__hidden=(7,))
    found, one = joined(), widths(joined)
    monkeypatch.setattr(architectures.parts, "WIDEST_JOINED", 0)
    apart = model(PAIR, architecture=architecture, mlp__hidden=(7,))
    assert len(one) == 1
    assert one[0] == sum(widths(apart))
    assert len(widths(apart)) > 2
    for task, logit in apart().logits.items():
        np.testing.assert_allclose(found.logits[task], logit, rtol=1e-5, atol=1e-6)
