"""Architectures and experts against other libraries, with their weights: `make peers`.

torch-rechub 0.9: shared bottom, MMoE, PLE, ESMM, AITM, DeepFM, AutoInt's layer; FuxiCTR 2.3: FM's,
FwFM's and PNN's products, CIN, DCN V2's cross network, FiBiNET's and FinalMLP's parts; PyTorch: the
transformer. FINAL, AFN, MaskNet and GDCN are not in FuxiCTR's package, but in its repository alone.

Where a peer differs from the paper, and we do not:

- torch-rechub normalises over the batch after every layer of every MLP, and before the softmax of
  MMoE's and PLE's gates, which have biases too. Without both it is the paper's.
- its AutoInt divides scores by the root of a head's width, as transformers do, and adds a linear
  model of the fields to the logit.
- its CIN has relus and hands on half of its rows, and its FiBiNET one bilinear layer for both
  embeddings: FuxiCTR's are compared instead.
- FuxiCTR's CIN has a bias in each layer, and PyTorch's transformer in each matrix of attention.

Where we differ from the paper, and a peer does not: an expert gives H numbers where a paper's model
gives one logit, and towers stand after it; so AITM's, ESMM's and MMoE's layers are those of an
expert and a tower. FinalMLP's gates are learned numbers; those that the peer's small MLP makes of a
learned vector are such.
"""

import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import CHAIN, PAIR, dense, options, relu
from flax.traverse_util import flatten_dict

from dtn_jax.interface import Inputs
from dtn_jax.models import build as architectures
from dtn_jax.models.experts import EXPERTS
from dtn_jax.schema import Field, Schema

HERE = pathlib.Path(__file__).parent
PYTHON = pathlib.Path(os.environ.get("PEERS_VENV", HERE.parents[1] / ".venv-peers")) / "bin/python"
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not PYTHON.exists(), reason="no peers: make peers, or PEERS_VENV=FOLDER"),
    pytest.mark.usefixtures("float64"),
]
HIDDEN_RELU = ("hidden_0", "output")  # of an MLP expert
TOWER = ("hidden_0", "logit")


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """{`CASE/NAME`: array}, as the script writes them."""
    path = tmp_path_factory.mktemp("peers") / "outputs.npz"
    words = [str(PYTHON), str(HERE / "peer_outputs.py"), str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return np.load(path)


class Peer:
    """A case: its fields `[B, F, D]`, its output, and its weights by name."""

    def __init__(self, arrays, case):
        start = f"{case}/weights/"
        self.fields, self.output = arrays[f"{case}/fields"], arrays[f"{case}/output"]
        self.weights = {n.removeprefix(start): arrays[n] for n in arrays if n.startswith(start)}

    def __getitem__(self, name):
        return self.weights[name]

    def dense(self, name):
        """A linear layer, as ours has it."""
        layer = {"kernel": self[f"{name}.weight"].T}
        return layer | ({"bias": self[f"{name}.bias"]} if f"{name}.bias" in self.weights else {})

    def layers(self, module, names):
        """The linear layers of a module, in their order, as those of these names."""
        paths = [
            name.removesuffix(".weight")
            for name, w in self.weights.items()
            if name.startswith(f"{module}.") and name.endswith(".weight") and w.ndim == 2
        ]
        return dict(zip(names, map(self.dense, paths), strict=True))


def assert_same(module, peer, params, apply):
    """Ours has these parameters and no others, and makes of them what the peer does."""
    shapes = jax.eval_shape(lambda: apply(module.init, jax.random.key(0))["params"])
    given = {path: a.shape for path, a in flatten_dict(params, sep="/").items()}
    assert given == {path: a.shape for path, a in flatten_dict(shapes, sep="/").items()}
    got = apply(module.apply, {"params": jax.tree.map(jnp.asarray, params)})
    np.testing.assert_allclose(np.asarray(got).T, peer.output.T, rtol=1e-8, atol=1e-10)


# Architectures: the parameters of ours, from the peer's.
def towers(p, names, module="towers"):
    return {f"tower_{t}": p.layers(f"{module}.{i}", TOWER) for i, t in enumerate(names)}


def shared_bottom(p):
    shared = {"mlp_0": p.layers("bottom_mlp", HIDDEN_RELU)}
    return {"shared": shared} | towers(p, PAIR.task_names)


def mmoe(p):
    shared = {f"mlp_{m}": p.layers(f"experts.{m}", HIDDEN_RELU) for m in range(2)}
    gates = {f"gate_{t}": gate(p, f"gates.{i}") for i, t in enumerate(PAIR.task_names)}
    return {"shared": shared} | gates | towers(p, PAIR.task_names)


def gate(p, module):
    scores = p.dense(f"{module}.mlp.0")
    assert not scores.pop("bias").any()
    return {"scores": scores}


def ple(p):
    params = towers(p, PAIR.task_names)
    for level in range(2):
        cgc = f"cgc_layers.{level}"
        for i, task in enumerate(PAIR.task_names):
            params[f"level_{level}_{task}"] = {
                f"mlp_{m}": p.layers(f"{cgc}.experts_specific.{2 * i + m}", HIDDEN_RELU)
                for m in range(2)
            }
            params[f"gate_{level}_{task}"] = gate(p, f"{cgc}.gates_specific.{i}")
        shared = p.layers(f"{cgc}.experts_shared.0", HIDDEN_RELU)
        params[f"level_{level}_shared"] = {"mlp_0": shared}
    return params | {"gate_0_shared": gate(p, "cgc_layers.0.gate_shared")}


def esmm(p):
    params = {}
    for task, tower in (("click", "tower_ctr"), ("order", "tower_cvr")):
        layers = p.layers(tower, ("output", *TOWER))
        params[task] = {"mlp_0": {"output": layers.pop("output")}}
        params[f"tower_{task}"] = layers
    return params


def aitm(p):
    params = towers(p, CHAIN.task_order())
    for i, task in enumerate(CHAIN.task_order()):
        params[task] = {"mlp_0": p.layers(f"bottoms.{i}", HIDDEN_RELU)}
        if i:
            layers = p.layers(f"aits.{i - 1}", ("queries", "keys", "values"))
            above = f"info_{CHAIN.task_order()[i - 1]}"
            layers |= p.layers(f"info_gates.{i - 1}", (above,))
            params[f"transfer_{task}"] = layers
    return params


ARCHITECTURES = {
    "shared_bottom": (shared_bottom, {"experts": "mlp"}),
    "mmoe": (mmoe, {"experts": "mlp*2"}),
    "ple": (ple, {"experts": "mlp*2", "group_experts": "shared=mlp"}),
    "esmm": (esmm, {"experts": "mlp", "mlp__hidden": ()}),
    "aitm": (aitm, {"experts": "mlp"}),
}


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_architectures_have_the_peers_outputs(peers, case):
    carried, changes = ARCHITECTURES[case]
    peer, tasks = Peer(peers, case), (CHAIN if case == "aitm" else PAIR).tasks
    B, F, _ = peer.fields.shape
    schema = Schema("peers", tuple(Field(f"field_{i}") for i in range(F)), tasks)
    usual = {"architecture": case, "dtype": "float64", "mlp__hidden": (7,)}
    module = architectures.build(options(**usual | changes), schema)
    fields = {"shared": jnp.asarray(peer.fields)}
    inputs = Inputs(fields=fields, codewords=None, row_mask=jnp.ones(B, bool))

    def apply(call, given):
        result = call(given, inputs, train=False)
        if not hasattr(result, "logits"):
            return result
        logits = [result.logits[task] for task in schema.task_order()]
        if case == "esmm":  # the peer gives p(order | click) first
            logits = [result.intermediates["conditional"]["order"], *logits]
        return jax.nn.sigmoid(jnp.stack(logits, axis=1))

    assert_same(module, peer, carried(peer), apply)


# Experts: the parameters of ours, from the peer's.
def autoint(p):
    names = ("query", "key", "value", "residual")
    params = {"output": p.dense("3.1")}
    for layer in range(3):
        matrices = p.layers(f"{layer}", names)
        matrices["query"]["kernel"] = matrices["query"]["kernel"] / np.sqrt(p.fields.shape[2] / 2)
        params[f"residual_{layer}"] = matrices.pop("residual")
        params[f"attention_{layer}"] = matrices
    return params


def cin(p):
    params = {"output": p.dense("fc")}
    for layer in range(2):
        W = p[f"cin_layer.layer_{layer + 1}.weight"][:, :, 0]  # [rows, F * rows below]
        assert not p[f"cin_layer.layer_{layer + 1}.bias"].any()
        by_field = W.reshape(len(W), p.fields.shape[1], -1)
        params[f"layer_{layer}"] = by_field.transpose(2, 1, 0)
    return params


def dcnv2(p):
    return p.layers("1", ("cross_0", "cross_1", "cross_2")) | {"output": p.dense("2")}


def fibinet(p):
    params = p.layers("senet", ("squeeze", "excite")) | p.layers("dnn", ("hidden_0", "output"))
    params["linear"] = p.dense("linear")
    params["linear"]["bias"] = params["linear"]["bias"] + params["output"].pop("bias")
    for ours, theirs in (("pairs", "first"), ("excited_pairs", "second")):
        W = p[f"{theirs}.bilinear_W"]
        each = len(W) == p.fields.shape[1] and W.ndim == 3  # the last field is first of no pair
        params[ours] = W[None] if W.ndim == 2 else W[:-1] if each else W
    return params


def finalmlp(p):
    params = {}
    for i, (stream, names) in enumerate({"first": (0, 1), "second": (0,)}.items(), 1):
        params |= p.layers(stream, [f"{stream}_{layer}" for layer in names])
        small = p.layers(f"select.fs{i}_gate", ("hidden", "gate"))
        hidden = relu(dense(small["hidden"], p[f"select.fs{i}_ctx_bias"]))
        params[f"{stream}_gate"] = dense(small["gate"], hidden)[0]
    first, second = p.dense("fuse.w_x"), p.dense("fuse.w_y")
    kernel = np.concatenate([first["kernel"], second["kernel"]])
    params["output"] = {"kernel": kernel, "bias": first["bias"] + second["bias"]}
    H = kernel.shape[1]
    W = p["fuse.w_xy"].reshape(2, 3, H, 2)  # heads, and a head's width in either stream
    return params | {"fusion": W.transpose(0, 1, 3, 2)}


def split(p, name, first, second):
    """A layer of the flat fields and something else, as one of each; the first has the bias."""
    layer, width = p.dense(name), p.fields[0].size
    kernels = np.split(layer["kernel"], [width])
    return {first: layer | {"kernel": kernels[0]}, second: {"kernel": kernels[1]}}


def fm(p):
    return split(p, "head", "first_order", "second_order")


def fwfm(p):
    return split(p, "head", "linear", "pairs")


def deepfm(p):
    first, deep = p.dense("linear.fc"), p.layers("mlp", ("hidden_0", "output"))
    first["bias"] = first["bias"] + deep["output"].pop("bias")
    summed = {"kernel": np.ones((p.fields.shape[2], 1))}
    return deep | {"fm": {"first_order": first, "second_order": summed}}


def pnn(p):
    return p.layers("head", HIDDEN_RELU)


def transformer(p):
    params = {"output": p.dense("1.1")}
    for layer in range(2):
        start, ours = f"0.{layer}", f"layer_{layer}"
        q, k, v = np.split(p[f"{start}.self_attn.in_proj_weight"], 3)
        matrices = {
            "query": q,
            "key": k,
            "value": v,
            "out": p[f"{start}.self_attn.out_proj.weight"],
        }
        params[f"{ours}_attention"] = {name: {"kernel": W.T} for name, W in matrices.items()}
        params[f"{ours}_hidden"] = p.dense(f"{start}.linear1")
        params[f"{ours}_forward"] = p.dense(f"{start}.linear2")
        for name, norm in (("attended", "norm1"), ("forwarded", "norm2")):
            scale, bias = p[f"{start}.{norm}.weight"], p[f"{start}.{norm}.bias"]
            params[f"{ours}_{name}"] = {"scale": scale, "bias": bias}
    return params


CASES = {
    "autoint": (autoint, {"layers": 3, "heads": 2, "head_dim": 3}),
    "cin": (cin, {"rows": (3, 4)}),
    "dcnv2": (dcnv2, {"layers": 3}),
    "deepfm": (deepfm, {"hidden": (8,)}),
    "fibinet, all": (fibinet, {"bilinear": "all", "reduction": 2, "hidden": (7,)}),
    "fibinet, each": (fibinet, {"bilinear": "each", "reduction": 2, "hidden": (7,)}),
    "fibinet, interaction": (fibinet, {"bilinear": "interaction", "reduction": 2, "hidden": (7,)}),
    "finalmlp": (finalmlp, {"first": (8, 6), "second": (4,), "heads": 2}),
    "fm": (fm, {}),
    "fwfm": (fwfm, {}),
    "pnn": (pnn, {"hidden": (7,)}),
    "transformer": (transformer, {"layers": 2, "heads": 2, "hidden": 7}),
}


@pytest.mark.parametrize("case", CASES)
def test_experts_have_the_peers_outputs(peers, case):
    carried, changes = CASES[case]
    peer, name = Peer(peers, case), case.partition(",")[0]
    width = peer.output[0].size
    expert = EXPERTS[name](width, dtype=jnp.float64, **changes)
    fields = jnp.asarray(peer.fields)

    def apply(call, given):
        result = call(given, fields, None, False)
        if name == "deepfm" and not isinstance(result, dict):
            return jax.nn.sigmoid(result)[:, 0]
        return result

    assert_same(expert, peer, carried(peer), apply)
