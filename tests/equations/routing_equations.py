"""The equations of architectures that route experts by learned switches, gates and relations, in
NumPy; CASES has an architecture, a schema, options and its equation, as test_architectures.py."""

import math

import numpy as np
from built_models import CHAIN, dense, group, relu, sigmoid, softmax, tower, weighted
from pair_equations import by_token, parts, rankmixer_block

RELATION = (7, 4)


def omoe(p, views, data):
    x = views["shared"]
    z = weighted(softmax(dense(p["gate"]["scores"], x)), group(p["shared"], x))
    return {t: tower(p[f"tower_{t}"], z) for t in data.task_names}


def cross_stitch(p, views, data, levels=2):
    s = dict.fromkeys(data.task_names, views["shared"])
    for level in range(levels):
        f = [np.concatenate(group(p[f"level_{level}_{t}"], s[t]), axis=-1) for t in data.task_names]
        c = p[f"unit_{level}"]
        s = {t: sum(c[i, j] * f[j] for j in range(len(f))) for i, t in enumerate(data.task_names)}
    return {t: tower(p[f"tower_{t}"], s[t]) for t in data.task_names}


def snr(p, views, data):
    f = group(p["shared"], views["shared"])
    z = np.clip(sigmoid(p["log_alpha"]) * 1.2 - 0.1, 0, 1)
    logits = {}
    for i, t in enumerate(data.task_order()):
        routes = [p[f"route_{t}_shared_mlp_{m}"]["kernel"] for m in range(len(f))]
        logits[t] = tower(p[f"tower_{t}"], sum(z[i, m] * e @ routes[m] for m, e in enumerate(f)))
    return logits


def dbmtl(p, views, data):
    tasks, h, logits = {t.name: t for t in data.tasks}, {}, {}
    for t in data.task_order():
        read = [*group(p[t], views["shared"]), *(h[u] for u in tasks[t].upstream)]
        h[t] = np.concatenate(read, axis=-1)
        for layer in range(len(RELATION)):
            h[t] = relu(dense(p[f"relation_{t}_{layer}"], h[t]))
        logits[t] = tower(p[f"tower_{t}"], h[t])
    return logits


def smooth_step(t):
    return np.where(t <= -0.5, 0, np.where(t >= 0.5, 1, -2 * t**3 + 1.5 * t + 0.5))


def selectors(p, x, experts, k):
    """r `[B, k, M]`, number by number and digit by digit."""
    digits = math.ceil(math.log2(experts))
    d = smooth_step(dense(p["digits"], x)).reshape(len(x), k, digits)
    r = np.zeros((len(x), k, experts))
    for m in range(2**digits):
        likely = np.ones((len(x), k))
        for n in range(digits):
            likely *= d[:, :, n] if m >> n & 1 else 1 - d[:, :, n]
        r[:, :, m % experts] += likely
    return r


def dselect_k(p, views, data, k=2):
    x, logits = views["shared"], {}
    f = group(p["shared"], x)
    for t in data.task_names:
        q = softmax(dense(p[f"gate_{t}"]["weights"], x))
        r = selectors(p[f"gate_{t}"], x, len(f), k)
        a = sum(q[:, [i]] * r[:, i] for i in range(k))
        logits[t] = tower(p[f"tower_{t}"], weighted(a, f))
    return logits


def metaheac(p, views, data, critics=3):
    x = views["shared"]
    f, logits = group(p["shared"], x), {}
    mean = x.reshape(len(x), -1, p["tasks"].shape[1]).mean(1)
    for i, t in enumerate(data.task_order()):
        g = np.concatenate([np.tile(p["tasks"][i], (len(x), 1)), mean], axis=-1)
        z = weighted(softmax(dense(p["expert_gate"]["scores"], g)), f)
        b = softmax(dense(p["critic_gate"]["scores"], g))
        scores = [tower(p[f"critic_{n}"], z) for n in range(critics)]
        if next(task.kind for task in data.tasks if task.name == t) == "binary":
            likely = sum(b[:, n] * sigmoid(scores[n]) for n in range(critics))
            logits[t] = np.log(likely) - np.log(1 - likely)
        else:
            logits[t] = sum(b[:, n] * scores[n] for n in range(critics))
    return logits


def fdn(p, views, data):
    x, order = views["shared"], data.task_order()
    shared = [f for t in order for f in group(p[f"shared_{t}"], x)]
    return {
        t: tower(p[f"tower_{t}"], np.concatenate([*group(p[t], x), *shared], axis=-1))
        for t in order
    }


def rankmixer(p, views, data, tokens=3, task_tokens=True):
    t = by_token(p["tokens"], parts(views["shared"], tokens))
    if task_tokens:
        t += [np.tile(own, (len(t[0]), 1)) for own in p["task_tokens"][0]]
    for block in range(2):
        t = rankmixer_block(p[f"block_{block}"], t)
    read = t[tokens:] if task_tokens else [sum(t) / tokens] * len(data.tasks)
    return {task: tower(p[f"tower_{task}"], z) for task, z in zip(data.task_order(), read)}


RANKMIXER = {"rankmixer__tokens": 3, "rankmixer__head_dim": 2}
CASES = {
    "omoe": ("omoe", CHAIN, {}, omoe),
    "cross_stitch": ("cross_stitch", CHAIN, {}, cross_stitch),
    "snr": ("snr", CHAIN, {}, snr),
    "dbmtl": ("dbmtl", CHAIN, {"dbmtl__relation": RELATION}, dbmtl),
    "dselect_k": ("dselect_k", CHAIN, {"experts": "mlp*3"}, dselect_k),
    "metaheac": ("metaheac", CHAIN, {"metaheac__critics": 3}, metaheac),
    "fdn": ("fdn", CHAIN, {}, fdn),
    "rankmixer": ("rankmixer", CHAIN, RANKMIXER, rankmixer),
}
OTHERS = {
    "rankmixer, no task tokens": (
        "rankmixer",
        CHAIN,
        RANKMIXER | {"rankmixer__task_tokens": False},
        lambda *a: rankmixer(*a, task_tokens=False),
    ),
}
