"""The equations of experts that bring fields together, in NumPy, with loops over the pairs.

Each takes the parameters by layer and the fields e [B, F, D]; CASES has an expert for each.
"""

import functools
import itertools
import math

import numpy as np
from built_models import attend, dense, layer_norm, relu, sigmoid

from dtn_jax.models.experts.afn import AFN
from dtn_jax.models.experts.autoint import AutoInt
from dtn_jax.models.experts.cin import CIN
from dtn_jax.models.experts.deepfm import DeepFM
from dtn_jax.models.experts.fibinet import FiBiNET
from dtn_jax.models.experts.final import FINAL
from dtn_jax.models.experts.finalmlp import FinalMLP
from dtn_jax.models.experts.fm import FM
from dtn_jax.models.experts.fwfm import FwFM
from dtn_jax.models.experts.pnn import PNN
from dtn_jax.models.experts.token_mixing import TokenMixing
from dtn_jax.models.experts.transformer import Transformer
from dtn_jax.models.experts.wukong import Wukong

H = 5


def flat(e):
    return e.reshape(len(e), -1)


def of_pairs(e):
    return list(itertools.combinations(range(e.shape[1]), 2))


def parts(x, count):
    """Equal parts of x; zeros fill up the last."""
    missing = -x.shape[-1] % count
    return np.split(np.pad(x, ((0, 0), (0, missing))), count, axis=-1)


def products(e):
    return np.stack([(e[:, i] * e[:, j]).sum(-1) for i, j in of_pairs(e)], axis=-1)


def hidden(p, x, layers):
    for layer in range(layers):
        x = relu(dense(p[f"hidden_{layer}"], x))
    return x


def fm(p, e):
    s = sum(e[:, i] * e[:, j] for i, j in of_pairs(e))
    return dense(p["first_order"], flat(e)) + dense(p["second_order"], s)


def deepfm(p, e):
    return fm(p["fm"], e) + dense(p["output"], hidden(p, flat(e), 2))


def fwfm(p, e):
    r = p["pairs"]["kernel"]
    pairs = sum(products(e)[:, [n]] * r[n] for n in range(len(r)))
    return dense(p["linear"], flat(e)) + pairs


def pnn(p, e, *, kind):
    if kind == "inner":
        made = products(e)
    else:
        s = e.sum(1)
        made = np.stack([np.outer(row, row).ravel() for row in s])
    return relu(dense(p["output"], hidden(p, np.concatenate([flat(e), made], axis=-1), 1)))


def fibinet(p, e, *, bilinear):
    a = relu(dense(p["excite"], relu(dense(p["squeeze"], e.mean(-1)))))

    def crossed(v, W):
        parts = []
        for n, (i, j) in enumerate(of_pairs(v)):
            matrix = W[{"interaction": n, "each": i, "all": 0}[bilinear]]
            parts.append((v[:, i] @ matrix) * v[:, j])
        return np.concatenate(parts, axis=-1)

    both = [crossed(e, p["pairs"]), crossed(e * a[:, :, None], p["excited_pairs"])]
    h = hidden(p, np.concatenate(both, axis=-1), 1)
    return dense(p["linear"], flat(e)) + dense(p["output"], h)


def cin(p, e, *, layers):
    c, pooled = e, []
    for layer in range(layers):
        W = p[f"layer_{layer}"]
        rows = [
            sum(
                W[i, j, k] * c[:, i] * e[:, j] for i in range(c.shape[1]) for j in range(e.shape[1])
            )
            for k in range(W.shape[2])
        ]
        c = np.stack(rows, axis=1)
        pooled.append(c.sum(-1))
    return dense(p["output"], np.concatenate(pooled, axis=-1))


def afn(p, e):
    size = np.maximum(np.abs(e), 1e-5)
    w = p["orders"]
    y = [np.prod([size[:, i] ** w[i, k] for i in range(len(w))], axis=0) for k in range(w.shape[1])]
    return relu(dense(p["output"], hidden(p, np.concatenate(y, axis=-1), 1)))


def final(p, e, *, kind, layers):
    gates = np.stack(
        [
            sum(e[:, i] * p["gate"][i, g] for i in range(e.shape[1])) + p["gate_bias"][g]
            for g in range(e.shape[1])
        ],
        axis=1,
    )
    z = np.concatenate([flat(e), flat(e * gates)], axis=-1)
    for layer in range(layers):
        u, v = np.split(dense(p[f"layer_{layer}"], z), 2, axis=-1)
        z = np.concatenate([u, u * v], axis=-1) if kind == "concat" else u * (1 + v)
    return dense(p["output"], z)


def finalmlp(p, e, *, heads):
    streams = []
    for name, layers in (("first", 2), ("second", 1)):
        o = flat(e) * 2 * sigmoid(p[f"{name}_gate"])
        for layer in range(layers):
            o = relu(dense(p[f"{name}_{layer}"], o))
        streams.append(o)
    both = 0
    for k in range(heads):
        a, b = (parts(o, heads)[k] for o in streams)
        both += np.stack(
            [[x @ W @ y for W in np.moveaxis(p["fusion"][k], -1, 0)] for x, y in zip(a, b)]
        )
    return dense(p["output"], np.concatenate(streams, axis=-1)) + both


def attention(p, e, heads, scale=None):
    """The heads' outputs side by side, field by field."""
    return attend(*(e @ p[n]["kernel"] for n in ("query", "key", "value")), heads, scale=scale)


def autoint(p, e, *, layers, heads):
    for layer in range(layers):
        o = attention(p[f"attention_{layer}"], e, heads, 1.0)
        e = relu(o + e @ p[f"residual_{layer}"]["kernel"])
    return dense(p["output"], flat(e))


def transformer(p, e, *, layers, heads):
    for layer in range(layers):
        name = f"layer_{layer}"
        q = p[f"{name}_attention"]
        o = attention(q, e, heads) @ q["out"]["kernel"]
        e = layer_norm(p[f"{name}_attended"], e + o)
        o = dense(p[f"{name}_forward"], relu(dense(p[f"{name}_hidden"], e)))
        e = layer_norm(p[f"{name}_forwarded"], e + o)
    return dense(p["output"], flat(e))


def gelu(x):
    """Its approximation by tanh (Hendrycks & Gimpel 2016)."""
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def token_mixing(p, e, *, tokens, blocks):
    t = by_token(p["tokens"], parts(flat(e), tokens))
    for block in range(blocks):
        t = rankmixer_block(p[f"block_{block}"], t)
    return dense(p["output"], sum(t) / tokens)


def by_token(p, t):
    return [token @ W + b for token, W, b in zip(t, p["kernel"], p["bias"], strict=True)]


def rankmixer_block(p, t):
    """Of a list of tokens."""
    heads = [np.split(token, len(t), axis=-1) for token in t]
    mixed = [np.concatenate([head[h] for head in heads], axis=-1) for h in range(len(t))]
    s = [layer_norm(p["mixed"], m + token) for m, token in zip(mixed, t)]
    hidden = [gelu(h) for h in by_token(p["tokens"]["hidden"], s)]
    v = by_token(p["tokens"]["forward"], hidden)
    return [layer_norm(p["forwarded"], a + b) for a, b in zip(v, s)]


def wukong(p, e, *, layers, interacted):
    for layer in range(layers):
        start, D = f"layer_{layer}_", e.shape[-1]
        q = {n.removeprefix(start): w for n, w in p.items() if n.startswith(start)}
        fm = np.stack([(X @ X.T @ q["projection"]).ravel() for X in e])
        h = hidden(q, layer_norm(q["fm"], fm), 1)
        fmb = dense(q["interaction"], h).reshape(len(e), interacted, D)
        lcb = np.stack([q["compression"].T @ X for X in e])
        residual = np.stack([q["residual"].T @ X for X in e]) if "residual" in q else e
        e = layer_norm(q["norm"], np.concatenate([fmb, lcb], axis=1) + residual)
    return dense(p["output"], flat(e))


CASES = {
    "fm": (FM(H), fm),
    "deepfm": (DeepFM(H, hidden=(7, 4)), deepfm),
    "fwfm": (FwFM(H), fwfm),
    **{
        f"pnn, {kind}": (PNN(H, kind=kind, hidden=(7,)), functools.partial(pnn, kind=kind))
        for kind in ("inner", "outer")
    },
    **{
        f"fibinet, {kind}": (
            FiBiNET(H, bilinear=kind, reduction=2, hidden=(7,)),
            functools.partial(fibinet, bilinear=kind),
        )
        for kind in ("interaction", "each", "all")
    },
    "cin": (CIN(H, rows=(6, 3)), functools.partial(cin, layers=2)),
    "afn": (AFN(H, neurons=6, hidden=(7,)), afn),
    **{
        f"final, {kind}": (
            FINAL(H, kind=kind, layers=2, products=3),
            functools.partial(final, kind=kind, layers=2),
        )
        for kind in ("concat", "sum")
    },
    "finalmlp": (
        FinalMLP(H, first=(7, 5), second=(6,), heads=2),
        functools.partial(finalmlp, heads=2),
    ),
    "autoint": (
        AutoInt(H, layers=2, heads=2, head_dim=4),
        functools.partial(autoint, layers=2, heads=2),
    ),
    "transformer": (
        Transformer(H, layers=2, heads=2, hidden=7),
        functools.partial(transformer, layers=2, heads=2),
    ),
    "token_mixing": (
        TokenMixing(H, tokens=5, head_dim=2, blocks=2),
        functools.partial(token_mixing, tokens=5, blocks=2),
    ),
    "wukong": (
        Wukong(H, layers=2, interacted=3, compressed=2, rank=2, hidden=(7,)),
        functools.partial(wukong, layers=2, interacted=3),
    ),
}
