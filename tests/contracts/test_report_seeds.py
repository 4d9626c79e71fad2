"""What is found of several seeds' models: numbers, text and pictures."""

import pytest

from dtn_jax.analysis import over_seeds, seeds_markdown

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
        "trained_by": "dtn-jax paper_tables",
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


SEEDS = [found(1, 0.4, 0.1, 0.6, 0.1), found(2, 0.6, 0.3, 0.8, -0.1), found(3, 0.5, 0.2, 0.1, 0.3)]


def test_seeds_agree_where_each_divergence_lies_in_all_intervals():
    low, high = (0.2, 0.3), (0.6, 0.7)
    assert over_seeds.agree((0.4, 0.5), low, high) is True
    assert over_seeds.agree((0.25, 0.5), low, high) is False  # below the other's
    assert over_seeds.agree((0.4, 0.65), low, high) is False  # above it
    assert over_seeds.agree((0.4,), (0.2,), (0.6,)) is None
    assert over_seeds.agree((0.4, None), low, high) is None


def test_what_seeds_alone_make_is_the_divergence_of_a_task_between_them():
    """Seed 2 has click's age and city the other way round: 1 - Spearman is 0.5 for it."""
    three = [found(1), found(2, age=0.01), found(3)]
    (own,) = over_seeds.divergences(three, "permutation")
    assert own.seeds == (pytest.approx((0.5 + 0 + 0.5) / 3), 0)


def test_experts_of_one_kind_and_group_are_summed():
    """Their names' numbers mean nothing across seeds."""
    own = over_seeds.gate_weights(SEEDS)["click/others"]
    assert list(own) == ["shared/mlp", "cart/gdcn"]
    assert own["shared/mlp"].values == pytest.approx((0.6, 0.8, 0.1))
    assert over_seeds.counts(SEEDS[0]["gates"]["use"])["click/others"] == {
        "shared/mlp": 2, "cart/gdcn": 1
    }  # fmt: skip
    assert over_seeds.kinds({"t": {"level_1_click/mlp_0": 1.0, "order_2": 2.0}}) == {
        "t": {"level_1_click/mlp": 1.0, "order_2": 2.0}
    }


def test_the_strongest_kind_is_that_of_the_strongest_expert():
    """0.6 of two experts is less than 0.4 of one."""
    weights, counts = over_seeds.gate_weights(SEEDS), over_seeds.counts(SEEDS[0]["gates"]["use"])
    gate = "click/others"
    assert over_seeds.strongest(weights[gate], counts[gate]) == [
        "cart/gdcn", "shared/mlp", "cart/gdcn"
    ]  # fmt: skip


def test_the_text_has_means_and_spreads():
    text = seeds_markdown.section(SEEDS, {"gates": "shop_gates.png"})
    assert "means over 3 seeds ± their standard deviation" in text
    assert "| `age` | 200 ± 100 | 19.6 | 20.0 ± 0.00 | 19.6 |" in text
    assert "| `hour` | (1.00 ± 0.00) | (10.0 ± 0.00) |" in text  # by unknown, within noise
    line = "| click@all, cart@all | 0.500 ± 0.100 | 0.40, 0.60, 0.50 | 0.200 to 0.800 | "
    assert line + "0.010, 0.030 | 0.000, 0.000 | yes |" in text
    assert "| click/own | 100.0 ± 0.0 % |  |  |  |" in text
    assert "| click/others |  | 50.0 ± 36.1 % | 50.0 ± 36.1 % | 0.900 ± 0.000 |" in text
    assert "| click/others | shared/mlp | 50.0 ± 36.1 % | 60.0, 80.0, 10.0 | 66.7 % |" in text
    assert "- Seed 2: Every gate chooses in 2." in text
    assert "differs between seeds: click/others (cart/gdcn, shared/mlp, cart/gdcn)." in text
    assert "same in every seed" not in text
    assert "| click, cart | 0.100 ± 0.200 | 0.100, -0.100, 0.300 | 0.050 |" in text
    assert "![Mean gate weights](shop_gates.png)" in text
