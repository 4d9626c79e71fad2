"""What is shown of importance, divergence, gates, conflict and pairs: of one model, and of several
seeds' models."""

import pytest
from console_text import as_shown

from dtn_jax.analysis import findings, pictures, sections
from dtn_jax.report.sections import markdown, terminal

KEYS = ("click@all", "cart@all")
FIELDS = ("age", "city", "hour")
MEANS = {"click@all": (0.1, 0.05, 0.001), "cart@all": (0.02, 0.3, 0.01)}


def importances(means, method="permutation", half=0.02):
    """`means`: {key: those of FIELDS}."""
    return [
        {"method": method, "key": key, "field": field}
        | {"importance": mean, "low": mean - half, "high": mean + half}
        for key, own in means.items()
        for field, mean in zip(FIELDS, own)
    ]


def weights(part="all rows", **changed):
    """Of two gates of click."""
    use = {
        ("click/own", "click/mlp_0", "own"): 1.0,
        ("click/others", "shared/mlp_0", "shared"): 0.25,
        ("click/others", "shared/mlp_1", "shared"): 0.25,
        ("click/others", "cart/gdcn_0", "other"): 0.5,
    }
    rows = [dict(zip(("gate", "source", "whose"), place)) for place in use]
    values = [changed.get(whose, value) for (*_, whose), value in use.items()]
    return [row | {"part": part, "weight": value} for row, value in zip(rows, values)]


def model(seed=1, divergence=0.5, age=0.1, shared=0.5, cosine=0.1, **other):
    """Of a seed: a divergence, click's importance of age, a gate's weight and a cosine."""
    means = MEANS | {"click@all": (age, *MEANS["click@all"][1:])}
    between = {"left": KEYS[0], "right": KEYS[1], "divergence": divergence, "low": 0.2, "high": 0.8}
    between |= {"noise_left": 0.01, "noise_right": 0.03}
    methods = ("permutation", "unknown")
    return {
        "seed": seed,
        "split": "validation",
        "rows": 1234,
        "undefined": [],
        "quality": [{"key": key, "metric": "AUC", "value": 0.9} for key in KEYS],
        "importance": [row for m in methods for row in importances(means, m)],
        "divergence": [{"method": m} | between for m in methods],
        "gates": weights(shared=shared / 2, other=1 - shared),
        "evenness": [
            {"gate": "click/own", "evenness": None},
            {"gate": "click/others", "evenness": 0.9},
        ],
        "collapse": [f"gate {seed}"],
        "conflict": [
            {"tasks": "click, cart", "cosine": cosine, "half": 0.05, "batches": 3, "rows": 1024}
        ],
        "pairs": [],
        "over_training": [],
    } | other


SEEDS = [model(1, 0.4, 0.1, 0.6, 0.1), model(2, 0.6, 0.3, 0.8, -0.1), model(3, 0.5, 0.2, 0.1, 0.3)]


def text_of(*models):
    return markdown(sections.sections(models, {"gates": "shop_gates.png"}))


def drawn(axes, names=()):
    """{line: its points, left to right}, and the ends of all intervals."""
    names = names or [label.get_text() for label in axes.get_yticklabels()]
    points, ends = {name: [] for name in names}, []
    for line in axes.lines:
        x, y = line.get_xdata(), line.get_ydata()
        if len(x) == 1:
            points[names[round(float(y[0]))]].append(round(float(x[0]), 6))
        elif len({*y}) == 1 and None not in x:
            ends.append(tuple(round(float(v), 6) for v in x))
    return {name: sorted(own) for name, own in points.items()}, ends


# ---------------------------------------------------------------- one model


def test_fields_are_in_the_order_of_their_shares_those_within_noise_in_brackets():
    means = {"click@all": (0.1, 0.2, -0.3), "cart@all": (0.03, 0.01, 0.001)}
    grid = sections.importance_grid([model(importance=importances(means))], "permutation")
    assert grid.rows == [["age", "100", "30.0"], ["city", "200", "(10.0)"],
                         ["hour", "(-300)", "(1.00)"]]  # fmt: skip
    assert "drop of AUC × 1000 when permuted, in brackets: within noise of 0" in grid.title


def test_the_text_of_one_model_has_nothing_of_seeds():
    pairs = [{"expert": "shared/gdcn_0", "pair": f"age × {n}", "strength": n} for n in range(7)]
    text = text_of(model(pairs=pairs))
    assert "| click@all, cart@all | 0.500 | 0.200 to 0.800 | 0.010, 0.030 |" in text
    assert "| click/own | 100.0 % |  |  |  |" in text
    assert "| click/others |  | 50.0 % | 50.0 % | 90.0 % |" in text
    assert "Collapse: gate 1." in text
    assert "| click, cart | 0.100 | 0.050 | 3 of 1,024 rows |" in text
    assert "| shared/gdcn_0 | age × 6, age × 5, age × 4, age × 3, age × 2 |" in text
    assert "eed" not in text
    text = as_shown(*terminal(sections.sections([model()]), 80, texts=False), markup=False)
    assert "Collapse: gate 1." in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_gate_has_its_weights_those_of_segments_and_effective_ones():
    parts = weights() + weights("work Private (900)") + weights("effective", other=0.02)
    assert "| click/others, effective |  | 2.0 % | 50.0 % |  |" in text_of(model(gates=parts))
    figure, more = pictures.gates([model(gates=parts)])
    own, others = figure.axes
    assert drawn(own)[0] == {"click/mlp_0": [1] * 4}
    points = drawn(others)[0]  # its weight, an equal one, a segment, effective
    assert points["cart/gdcn_0"] == [0.02, 0.333333, 0.5, 0.5]
    inks = [bar.get_facecolor() for bar in others.patches]
    assert inks[0] == inks[1] != inks[2]
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["equal weights", "effective", "work Private (900)"]
    assert more == "; marks: segments (of 100 rows at least)"


# ---------------------------------------------------------------- several seeds


def test_seeds_agree_where_each_divergence_lies_in_all_intervals():
    low, high = (0.2, 0.3), (0.6, 0.7)
    assert findings.agree((0.4, 0.5), low, high) is True
    assert findings.agree((0.25, 0.5), low, high) is False  # below the other's
    assert findings.agree((0.4, 0.65), low, high) is False  # above it
    assert findings.agree((0.4,), (0.2,), (0.6,)) is None
    assert findings.agree((0.4, None), low, high) is None


def test_what_seeds_alone_make_is_the_divergence_of_a_task_between_them():
    """Seed 2 has click's age and city the other way round: 1 - Spearman is 0.5 for it."""
    three = [model(1), model(2, age=0.01), model(3)]
    (row,) = findings.divergences(three, "permutation")
    assert row["seeds_left"] == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert row["seeds_right"] == 0


def test_experts_of_one_kind_and_group_are_summed():
    """Their names' numbers mean nothing across seeds."""
    rows = findings.gate_weights(SEEDS, findings.kind)
    rows = [row for row in rows if row["name"] == "shared/mlp"]
    assert [row["weight"] for row in rows] == pytest.approx([0.6, 0.8, 0.1])
    assert [row["equal"] for row in rows] == pytest.approx([2 / 3] * 3)
    assert findings.kind({"source": "level_1_click/mlp_0"}) == "level_1_click/mlp"
    assert findings.kind({"source": "order_2"}) == "order_2"  # a task's name


def test_the_text_of_several_has_means_and_spreads():
    text = text_of(*SEEDS)
    assert "means over 3 seeds ± their standard deviation" in text
    assert "| age | 200 ± 100 | (20.0 ± 0.00) |" in text
    assert "| hour | (1.00 ± 0.00) | (10.0 ± 0.00) |" in text  # within noise
    line = "| click@all, cart@all | 0.500 ± 0.100 | 0.200 to 0.800 | 0.010, 0.030 | 0.000, 0.000 |"
    assert f"{line} 0.400, 0.600, 0.500 | yes |" in text
    assert "| click/own | 100.0 ± 0.0 % |  |  |  |" in text
    assert "| click/others |  | 50.0 ± 36.1 % | 50.0 ± 36.1 % | 90.0 ± 0.0 % |" in text
    assert "| click/others | shared/mlp | 50.0 ± 36.1 % | 60.0, 80.0, 10.0 | 66.7 % |" in text
    assert "Seed 2: Collapse: gate 2." in text
    line = "| click, cart | 0.100 ± 0.200 | 0.050 | 3 of 1,024 rows | 0.100, -0.100, 0.300 |"
    assert line in text
    assert "![Mean gate weights](shop_gates.png)" in text


def test_every_picture_of_several_is_drawn(tmp_path):
    names = pictures.draw(SEEDS, tmp_path)
    drawn = ["importance_permutation", "importance_unknown", "divergence", "gates"]
    assert list(names) == drawn
    assert {p.name for p in tmp_path.iterdir()} == {*names.values()}
