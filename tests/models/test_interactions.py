"""Each expert against its equation in NumPy; the addresses of field pairs."""

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
from dtn_jax.tables.addresses import pair_addresses

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


# Addresses


def address(a, b, i, j, n, rows, seed):
    """One address, in Python's whole numbers."""

    def scramble(x):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = ((x ^ (x >> shift)) * factor) % 2**32
        return x ^ (x >> 16)

    key = scramble(((n + 1) * 0x9E3779B9 + seed) % 2**32)
    key = scramble(scramble(key ^ i) ^ j)
    return scramble(scramble(a % 2**32 ^ key) ^ b % 2**32) % rows


def test_addresses_are_the_same_everywhere():
    ids = np.random.default_rng(0).integers(-1, 2**31 - 1, size=(20, 4), dtype=np.int32)
    ids[0], ids[1] = -1, 0
    options = {"hashes": 3, "rows": 100_003, "seed": 2**40 + 5}
    got = pair_addresses(ids, **options)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.int32
    assert got.shape == (20, 6, 3)
    pairs = list(itertools.combinations(range(4), 2))
    expected = [
        [
            [address(int(row[i]), int(row[j]), i, j, n, 100_003, 5) for n in range(3)]
            for i, j in pairs
        ]
        for row in ids
    ]
    np.testing.assert_array_equal(got, expected)
    hashed = jax.jit(functools.partial(pair_addresses, **options))(ids)
    assert hashed.dtype == jnp.int32
    np.testing.assert_array_equal(hashed, got)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(pair_addresses(jnp.asarray(ids), **options), got)


def test_addresses_are_golden():
    # A saved model's codebook is worthless under other addresses: these numbers must stay.
    ids = np.array([[1, 2, 3], [-1, 0, 2_000_000_000]], np.int32)
    got = pair_addresses(ids, hashes=2, rows=100_000, seed=0)
    assert got[0].tolist() == [[96296, 65150], [96251, 44022], [92110, 72526]]
    assert got[1].tolist() == [[46910, 18308], [83336, 42141], [4908, 19599]]


def test_addresses_are_uniform_and_independent():
    # Neighbouring ids, the hard case: 40,000 pairs into 64 rows, and the two hashes together.
    grid = np.stack(np.meshgrid(np.arange(200), np.arange(200)), axis=-1)
    ids = grid.reshape(-1, 2).astype(np.int32)
    rows = 64
    got = pair_addresses(ids, hashes=2, rows=rows, seed=1)[:, 0]
    assert got.min() == 0
    assert got.max() == rows - 1

    def chi_square(values, size):
        mean = len(values) / size
        return np.sum((np.bincount(values, minlength=size) - mean) ** 2) / mean

    for values, size in (
        (got[:, 0], rows),
        (got[:, 1], rows),
        (got[:, 0] * rows + got[:, 1], rows**2),
    ):
        degrees = size - 1  # mean, and half the variance, of chi-square
        assert abs(chi_square(values, size) - degrees) < 5 * np.sqrt(2 * degrees)


def test_addresses_differ_by_pair_order_and_seed():
    def collisions(a, b):
        return np.mean(a == b)

    one = np.random.default_rng(0).integers(0, 1000, size=(2000, 1), dtype=np.int32)
    same = np.repeat(one, 4, axis=1)  # the same id in all four fields
    got = pair_addresses(same, hashes=1, rows=1000, seed=0)[:, :, 0]
    for p, q in itertools.combinations(range(6), 2):
        assert collisions(got[:, p], got[:, q]) < 0.01
    other = np.random.default_rng(1).integers(0, 1000, size=(2000, 1), dtype=np.int32)
    there, back = np.concatenate([one, other], 1), np.concatenate([other, one], 1)
    hashed = functools.partial(pair_addresses, hashes=1, rows=1000)
    assert collisions(hashed(there, seed=0), hashed(back, seed=0)) < 0.01
    assert collisions(hashed(there, seed=0), hashed(there, seed=1)) < 0.01
