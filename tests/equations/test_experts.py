"""Each expert against its equation in NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pair_equations
import pytest
from built_models import dense, exact, relu, sigmoid

from dtn_jax.errors import UserError
from dtn_jax.models.experts import EXPERTS, parse_experts
from dtn_jax.models.experts.dcnv2 import DCNv2
from dtn_jax.models.experts.fm import FM
from dtn_jax.models.experts.gdcn import GDCN
from dtn_jax.models.experts.hcnet import HCNet
from dtn_jax.models.experts.masknet import MaskBlock, MaskNet
from dtn_jax.models.experts.mlp import MLP

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

B, F, D, H = 6, 4, 3, 5
S, N, C = 4, 2, 3  # fields in pairs, hashes, codebooks
P = S * (S - 1) // 2


# The equations, on x [B, W], codewords [B, P, N, C, D] and the parameters by layer.
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


def hcnet(p, x, codewords, *, codebook, shrinking="none", restoring="linear"):
    w, e = codewords[:, :, :, codebook, :], x.reshape(B, F, D)
    w = np.concatenate([w[:, :, n] for n in range(N)], axis=-1)
    fields = range(S)
    pairs = list(itertools.combinations(fields, 2))

    def attention(name, z):
        return relu(z @ p[f"{name}_hidden"]["kernel"]) @ p[name]["kernel"]

    if restoring == "attentive":
        both = [np.concatenate([e[:, i], e[:, j]], axis=-1) for i, j in pairs]
        w = w * np.stack([attention("restoring", z) for z in both], axis=1)
    q = w @ p["restore"]["kernel"]
    if shrinking == "attentive":
        q = q * attention("shrinking", x)[:, :, None]
    if shrinking != "none":
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
    "hcnet": (HCNet(H, codebook=2), functools.partial(hcnet, codebook=2)),
    "hcnet, sum": (
        HCNet(H, codebook=1, shrinking="sum"),
        functools.partial(hcnet, codebook=1, shrinking="sum"),
    ),
    "hcnet, attentive": (
        HCNet(H, places=tuple(range(S)), restoring="attentive", shrinking="attentive", hidden=7),
        functools.partial(hcnet, codebook=0, restoring="attentive", shrinking="attentive"),
    ),
    "dcnv2": (DCNv2(H, layers=3), functools.partial(dcnv2, layers=3, rank=0)),
    "dcnv2, low rank": (DCNv2(H, layers=2, rank=2), functools.partial(dcnv2, layers=2, rank=2)),
}


OF_X = frozenset(CASES)


def of_fields(equation):
    """An equation of fields as one of the flat input and the codewords."""
    return lambda p, x, codewords: equation(p, x.reshape(B, F, D))


CASES |= {
    case: (expert, of_fields(equation)) for case, (expert, equation) in pair_equations.CASES.items()
}


def draw(dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (B, F, D), (B, P, N, C, D)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@functools.cache
def made(case, random_variables):
    """The expert of a case in float64, its variables, its inputs, and its compiled function."""
    expert = CASES[case][0].clone(dtype=jnp.float64)
    given = draw(jnp.float64)
    variables = random_variables(expert, *given, train=False)
    return expert, variables, given, jax.jit(functools.partial(expert.apply, train=False))


def flat(fields, codewords):
    """For NumPy."""
    return np.asarray(fields).reshape(B, -1), np.asarray(codewords)


@pytest.mark.parametrize("case", CASES)
def test_expert_is_its_equation(case, random_variables):
    _, variables, (fields, codewords), run = made(case, random_variables)
    expected = CASES[case][1](exact(variables["params"]), *flat(fields, codewords))
    assert expected.shape == (B, H)
    np.testing.assert_allclose(run(variables, fields, codewords), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "case", [c if c in OF_X else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_in_bfloat16_it_is_nearly_the_same(case, random_variables):
    expert, variables, (fields, codewords), run = made(case, random_variables)
    out = run(variables, fields, codewords)
    half = expert.clone(dtype=jnp.bfloat16)
    shapes = jax.eval_shape(lambda: half.init(jax.random.key(0), fields, codewords, train=False))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    stored = jax.tree.map(lambda a: np.asarray(a, np.float32), variables)
    given = (np.asarray(a, np.float32) for a in (fields, codewords))
    rough = jax.jit(functools.partial(half.apply, train=False))(stored, *given)
    assert rough.dtype == jnp.bfloat16
    scale = np.max(np.abs(out))
    np.testing.assert_allclose(np.asarray(rough, "f8"), out, rtol=0, atol=0.05 * scale)


def test_mask_block_has_an_accurate_variance(random_variables):
    # Far from zero, E[y^2] - E[y]^2 loses in float32 what the mean of squared deviations keeps.
    x = jnp.asarray(flat(*draw(jnp.float32))[0])
    block = MaskBlock(7, mask_hidden=4, dtype=jnp.float32)
    variables = random_variables(block, x, x)
    layer = variables["params"]["hidden"]
    layer["bias"] = np.asarray(layer["bias"]) + np.float32(1000)
    expected = mask_block(exact(variables["params"]), *[np.asarray(x, np.float64)] * 2)
    np.testing.assert_allclose(jax.jit(block.apply)(variables, x, x), expected, rtol=0, atol=0.01)


def test_attentive_hcnet_needs_fields(random_variables):
    expert, variables, (fields, codewords), _ = made("hcnet, attentive", random_variables)
    with pytest.raises(UserError, match="give it to a first level"):
        expert.apply(variables, fields.reshape(B, 1, F * D), codewords, train=False)


@pytest.mark.parametrize("name", ["wukong", "transformer"])
def test_rows_of_zeros_and_fields_of_one_number_have_gradients(name, random_variables):
    """Where all is equal, a variance is 0; of one number it always is."""
    expert = EXPERTS[name](H, dtype=jnp.float64)
    e = draw(jnp.float64)[0]
    for fields in (e.at[0].set(0.0), e[:, :, :1]):
        variables = random_variables(expert, fields, None, train=False)
        run = functools.partial(expert.apply, variables, codewords=None, train=False)
        gradient = jax.jit(jax.grad(lambda x, run=run: run(x).sum()))(fields)
        assert np.isfinite(gradient).all()
        assert np.abs(gradient[1:]).min() > 0
        assert np.abs(gradient).max() < 1e4


def test_parse_experts():
    assert parse_experts("gdcn") == ("gdcn",)
    assert parse_experts("gdcn + masknet*2+mlp * 1") == ("gdcn", "masknet", "masknet", "mlp")
    assert all(parse_experts(name) == (name,) for name in EXPERTS)
    with pytest.raises(UserError, match="Did you mean 'gdcn'"):
        parse_experts("gdnc")
    for text in ("", "gdcn+", "*2"):
        with pytest.raises(UserError, match="The choices are: mlp, gdcn"):
            parse_experts(text)
    for text in ("gdcn*0", "gdcn*", "gdcn*-1", "gdcn*1.5", "gdcn*2*2"):
        with pytest.raises(UserError, match="expected a count >= 1"):
            parse_experts(text)


def test_fms_difference_of_squares_keeps_its_digits_in_bfloat16():
    """One field far larger than the others: (Σ e)² and Σ e² differ by less than bfloat16 tells."""
    e = jnp.asarray(np.concatenate([np.full((1, 1, D), 100.0), np.full((1, 3, D), 0.01)], axis=1))
    e = e.astype(jnp.float32)
    expert = FM(H, dtype=jnp.bfloat16)
    params = expert.init(jax.random.key(0), e, None, train=False)["params"]
    params["first_order"] = jax.tree.map(jnp.zeros_like, params["first_order"])
    found = expert.apply({"params": params}, e, None, train=False)
    s = np.full((1, D), 3 * 100 * 0.01 + 3 * 0.01**2)
    exact = s @ np.asarray(params["second_order"]["kernel"], np.float64)
    np.testing.assert_allclose(
        np.asarray(found, np.float64), exact, atol=0.03 * np.abs(exact).max()
    )
