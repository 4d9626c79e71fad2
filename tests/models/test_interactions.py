"""Each expert against its equation in NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.errors import UserError
from dtn_jax.models.experts import EXPERTS, parse_experts
from dtn_jax.models.experts.dcnv2 import DCNv2
from dtn_jax.models.experts.gdcn import GDCN
from dtn_jax.models.experts.hcnet import HCNet
from dtn_jax.models.experts.masknet import MaskBlock, MaskNet
from dtn_jax.models.experts.mlp import MLP

B, F, D, H = 6, 4, 3, 5
S, N, C = 4, 2, 3  # fields in pairs, hashes, codebooks
P = S * (S - 1) // 2


# The equations, on x [B, W], codewords [B, P, N, C, D] and the parameters by layer.
def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mlp(p, x, codewords, *, layers):
    for layer in range(layers):
        x = relu(dense(p[f"hidden_{layer}"], x))
    return relu(dense(p["output"], x))


def gdcn(p, x, codewords, *, layers):
    c = x
    for layer in range(layers):
        assert "bias" not in p[f"gate_{layer}"]
        c = x * dense(p[f"cross_{layer}"], c) * sigmoid(dense(p[f"gate_{layer}"], c)) + c
    return dense(p["output"], c)


def mask_block(p, masked, x):
    mask = dense(p["mask"], relu(dense(p["mask_hidden"], x)))
    y = dense(p["hidden"], masked * mask)
    mean = y.mean(-1, keepdims=True)
    variance = ((y - mean) ** 2).mean(-1, keepdims=True)
    return relu((y - mean) / np.sqrt(variance + 1e-12) * p["norm"]["scale"] + p["norm"]["bias"])


def masknet(p, x, codewords, *, kind, blocks, layers):
    names = [f"block_{k}" for k in range(blocks)]
    if kind == "parallel":
        o = np.concatenate([mask_block(p[name], x, x) for name in names], axis=-1)
    else:
        o = functools.reduce(lambda below, name: mask_block(p[name], below, x), names, x)
    return mlp(p, o, None, layers=layers)


def hcnet(p, x, codewords, *, codebook, shrinking):
    w = codewords[:, :, :, codebook, :]
    q = np.concatenate([w[:, :, n] for n in range(N)], axis=-1) @ p["restore"]["kernel"]
    if shrinking == "sum":
        fields = range(S)
        pairs = list(itertools.combinations(fields, 2))
        q = np.stack([sum(q[:, k] for k in range(P) if i in pairs[k]) for i in fields], axis=1)
    return dense(p["output"], np.concatenate([x, q.reshape(len(x), -1)], axis=-1))


def dcnv2(p, x, codewords, *, layers, rank):
    x0 = x
    for layer in range(layers):
        inner = x @ p[f"down_{layer}"]["kernel"] if rank else x
        x = x0 * dense(p[f"cross_{layer}"], inner) + x
    return dense(p["output"], x)


CASES = {
    "mlp, no hidden layer": (MLP(H, hidden=()), functools.partial(mlp, layers=0)),
    "mlp": (MLP(H, hidden=(7, 4), dropout=0.5), functools.partial(mlp, layers=2)),
    "gdcn": (GDCN(H, layers=3), functools.partial(gdcn, layers=3)),
    "masknet, parallel": (
        MaskNet(H, blocks=3, block_dim=7, mask_hidden=4, hidden=(8,)),
        functools.partial(masknet, kind="parallel", blocks=3, layers=1),
    ),
    "masknet, serial": (
        MaskNet(H, kind="serial", blocks=3, block_dim=7, mask_hidden=4, hidden=(8, 6)),
        functools.partial(masknet, kind="serial", blocks=3, layers=2),
    ),
    "hcnet": (HCNet(H, codebook=2), functools.partial(hcnet, codebook=2, shrinking="none")),
    "hcnet, sum": (
        HCNet(H, codebook=1, shrinking="sum"),
        functools.partial(hcnet, codebook=1, shrinking="sum"),
    ),
    "dcnv2": (DCNv2(H, layers=3), functools.partial(dcnv2, layers=3, rank=0)),
    "dcnv2, low rank": (
        DCNv2(H, layers=2, rank=2),
        functools.partial(dcnv2, layers=2, rank=2),
    ),
}


def draw(dtype, seed=0):
    rng = np.random.default_rng(seed)
    fields = jnp.asarray(rng.normal(size=(B, F, D)), dtype)
    codewords = jnp.asarray(rng.normal(size=(B, P, N, C, D)), dtype)
    return fields, codewords


def run(expert, variables, fields, codewords):
    return jax.jit(lambda v, f, c: expert.apply(v, f, c, train=False))(variables, fields, codewords)


@pytest.mark.parametrize("case", CASES)
def test_expert_is_its_equation(case, precision, random_variables):
    expert, equation = CASES[case]
    expert = expert.clone(dtype=precision.dtype)
    fields, codewords = draw(precision.dtype)
    variables = random_variables(expert, fields, codewords, train=False)
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    x, w = (np.asarray(a, np.float64) for a in (fields.reshape(B, -1), codewords))
    expected = equation(exact, x, w)
    assert expected.shape == (B, H)
    precision.assert_close(run(expert, variables, fields, codewords), expected)


@pytest.mark.parametrize("case", CASES)
def test_expert_properties(case, random_variables):
    expert, _ = CASES[case]
    fields, codewords = draw(jnp.float32)
    variables = random_variables(expert, fields, codewords, train=False)
    out = run(expert, variables, fields, codewords)

    order = np.random.default_rng(1).permutation(B)
    permuted = run(expert, variables, fields[order], codewords[order])
    np.testing.assert_allclose(permuted, out[order], rtol=1e-5, atol=1e-6)

    # One wide field is the same input: the second level of PLE has nothing else.
    wide = run(expert, variables, fields.reshape(B, 1, F * D), codewords)
    np.testing.assert_array_equal(wide, out)

    half = expert.clone(dtype=jnp.bfloat16)
    shapes = jax.eval_shape(lambda: half.init(jax.random.key(0), fields, codewords, train=False))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    rough = run(half, variables, fields, codewords)
    assert rough.dtype == jnp.bfloat16
    scale = np.max(np.abs(out))
    np.testing.assert_allclose(rough.astype(jnp.float32), out, rtol=0, atol=0.05 * scale)


def test_mask_block_has_an_accurate_variance(random_variables):
    # Far from zero, E[y^2] - E[y]^2 loses in float32 what the mean of squared deviations keeps.
    x, _ = draw(jnp.float32)
    x = x.reshape(B, -1)
    block = MaskBlock(7, mask_hidden=4, dtype=jnp.float32)
    variables = random_variables(block, x, x)
    layer = variables["params"]["hidden"]
    layer["bias"] = layer["bias"] + 1000
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    expected = mask_block(exact, *[np.asarray(x, np.float64)] * 2)
    np.testing.assert_allclose(block.apply(variables, x, x), expected, rtol=0, atol=0.01)


def test_mlp_drops_hidden_units_in_training_only(random_variables):
    fields, _ = draw(jnp.float32)
    expert = MLP(H, hidden=(50,), dropout=0.5)
    variables = random_variables(expert, fields, None, train=False)

    def train(key, expert=expert):
        rngs = {"dropout": jax.random.key(key)}
        return expert.apply(variables, fields, None, train=True, rngs=rngs)

    still = expert.apply(variables, fields, None, train=False)
    np.testing.assert_array_equal(train(0), train(0))
    assert np.any(train(0) != train(1))
    assert np.any(train(0) != still)
    np.testing.assert_array_equal(train(0, expert.clone(dropout=0.0)), still)


def test_hcnet_reads_its_own_codebook_only(random_variables):
    fields, codewords = draw(jnp.float32)
    expert = HCNet(H, codebook=1)
    variables = random_variables(expert, fields, codewords, train=False)
    out = run(expert, variables, fields, codewords)
    others = codewords.at[:, :, :, [0, 2]].add(1.0)
    np.testing.assert_array_equal(run(expert, variables, fields, others), out)
    assert np.all(run(expert, variables, fields, codewords.at[:, :, :, 1].add(1.0)) != out)
    with pytest.raises(ValueError, match="got None"):
        expert.apply(variables, fields, None, train=False)
    with pytest.raises(ValueError, match="codebook 3 is not among the 3"):
        expert.clone(codebook=3).apply(variables, fields, codewords, train=False)


def test_parse_experts():
    assert parse_experts("gdcn") == ("gdcn",)
    assert parse_experts("gdcn + masknet*2+mlp * 1") == ("gdcn", "masknet", "masknet", "mlp")
    assert all(parse_experts(name) == (name,) for name in EXPERTS)
    with pytest.raises(UserError, match="Did you mean 'gdcn'"):
        parse_experts("gdnc")
    for text in ("", "gdcn+", "*2"):
        with pytest.raises(UserError, match="The choices are: mlp, gdcn"):
            parse_experts(text)
    for text in ("gdcn*0", "gdcn*", "gdcn*x", "gdcn*-1", "gdcn*1.5", "gdcn*2*2"):
        with pytest.raises(UserError, match="expected a count >= 1"):
            parse_experts(text)
