"""What importance.json holds of models of several seeds, invented; no test is in here."""

import numpy as np

KEYS = ("click@all", "cart@all")
FIELDS = ("age", "city", "hour")


def divergence(value, low=0.2, high=0.8, noise=(0.01, 0.03)):
    def both(x):
        return [[0.0, x], [x, 0.0]]

    ends = {"low": both(low), "high": both(high)}
    return {"keys": list(KEYS), "value": both(value), **ends, "itself": list(noise)}


def method(means, value):
    """`means`: {key: those of FIELDS}; every error is 0.01."""
    importance = {
        key: {f: {"mean": m, "error": 0.01, "spread": None} for f, m in zip(FIELDS, own)}
        for key, own in means.items()
    }
    base = dict.fromkeys(means, 0.9)
    return {"base": base, "importance": importance, "divergence": divergence(value)}


def found(seed, value=0.5, age=0.1, shared=0.5, cosine=0.1, **other):
    """Of a seed: a divergence, click's importance of age, a gate's weight and a cosine."""
    use = {
        "click/own": {"click/mlp_0": 1.0},
        "click/others": {
            "shared/mlp_0": shared / 2,
            "shared/mlp_1": shared / 2,
            "cart/gdcn_0": 1 - shared,
        },
    }
    means = {"click@all": (age, 0.05, 0.001), "cart@all": (0.02, 0.3, 0.01)}
    return {
        "seed": seed,
        "dataset": "shop",
        "architecture": "dtn",
        "experts": "mlp+gdcn",
        "step": 10 * seed,
        "date": "2026-01-01",
        "versions": {"jax": "1.2", "python": "3.12"},
        "arguments": [],
        "trained_by": "python -m experiments.paper_tables",
        "split": "validation",
        "rows": 1234,
        "undefined": [],
        "methods": {m: method(means, value) for m in ("permutation", "gradient", "unknown")},
        "truth": {},
        "gates": {
            "use": use,
            "relations": {
                "click/own": {"own": 1.0},
                "click/others": {"shared": shared, "other": 1 - shared},
            },
            "effective": {"use": {}, "relations": {}},
            "evenness": {"click/own": None, "click/others": 0.9},
            "reading": f"Every gate chooses in {seed}.",
            "segment": "age",
            "segments": {"20": {"rows": 500, "use": use}},
            "collapse": [],
        },
        "conflict": {
            "click, cart": {"mean": cosine, "half": 0.05, "batches": 3, "batch_rows": 1024}
        },
        "over_training": {},
        "pairs": {},
    } | other


def known(value):
    """The known answer of a model of `found`."""
    agreement = {key: {"rank_correlation": 0.9, "fields": 3} for key in KEYS}
    return {"divergence": divergence(value), "agreement": {"permutation": agreement}}


def pair_facts(*strongest):
    facts = {"strongest": [[*pair, 1.0] for pair in strongest]}
    return {"shared/gdcn_0": {"gates": {}, "norm": facts, "term": facts}}


def xs(axes, colour):
    """Where lines and points of a colour lie, in the order that they were drawn in."""
    return [
        np.round(line.get_xdata(), 6).tolist() for line in axes.lines if line.get_color() == colour
    ]
