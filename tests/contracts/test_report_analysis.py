"""What is shown of importance, divergence, gates, conflict and pairs: of one model, and of several
seeds' models."""

import io

import pytest
import rich.console

from dtn_jax.analysis import findings, pictures, sections
from dtn_jax.report.sections import markdown, terminal

KEYS = ("click@all", "cart@all")
FIELDS = ("age", "city", "hour")
USE = {
    "click/own": {"click/mlp_0": 0.5, "click/gdcn_0": 0.5},
    "click/others": {"order/mlp_0": 0.2, "order/gdcn_0": 0.3, "shared/mlp_0": 0.5},
}


def divergence(value, low=0.2, high=0.8, noise=(0.01, 0.03)):
    def both(x):
        return [[0.0, x], [x, 0.0]]

    ends = {"low": both(low), "high": both(high)}
    return {"keys": list(KEYS), "value": both(value), **ends, "itself": list(noise)}


def method(means, value=0.5, error=0.01):
    """`means`: {key: those of FIELDS}."""
    importance = {
        key: {f: {"mean": m, "error": error, "spread": None} for f, m in zip(FIELDS, own)}
        for key, own in means.items()
    }
    base = dict.fromkeys(means, 0.9)
    titles = dict.fromkeys(means, "AUC")
    more = {"metric": titles, "divergence": divergence(value)}
    return {"base": base, "importance": importance, **more}


def found(seed=1, value=0.5, age=0.1, shared=0.5, cosine=0.1, **other):
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


def text_of(*models):
    return markdown(sections.sections(models, {"gates": "shop_gates.png"}))


def printed(*models):
    out = io.StringIO()
    console = rich.console.Console(file=out, width=80, markup=False)
    for piece in terminal(sections.sections(models), 80, texts=False):
        console.print(piece)
    return out.getvalue()


def below(figure):
    """A figure's grey lines, as one."""
    return figure.texts[1].get_text().replace("\n", " ")


# ---------------------------------------------------------------- one model


def of_means(first, second, error=0.01, name="permutation"):
    return [{"methods": {name: method(dict(zip(KEYS, (first, second))), error=error)}}]


def many_keys(*names, error=0.05):
    means = {f"t{k}@all": (0.1, 0.0, 0.02) for k in range(4)}
    return [{"methods": {name: method(means, error=error) for name in names}}]


def test_what_is_within_noise_is_in_brackets_but_for_absolute_values():
    one = many_keys("gradient", "unknown")
    grid = sections.importance_grid(one, "gradient")
    assert grid.rows == [["age", *["100"] * 4], ["hour", *["20.0"] * 4], ["city", *["0.00"] * 4]]
    assert "a field without influence has more than 0 too" in grid.title
    assert "brackets" not in grid.title
    grid = sections.importance_grid(one, "unknown")
    assert grid.rows[2] == ["city", *["(0.00)"] * 4]
    assert "in brackets: within noise of 0" in grid.title
    assert (
        sections.importance_grid(many_keys("unknown", error=0.01), "unknown").rows[1][1] == "20.0"
    )


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


def test_an_importance_is_drawn_with_its_interval_by_task():
    figure = pictures.importance(of_means((0.1, 0.02, 0), (0.01, 0.009, 0)), "permutation")
    first, second = figure.axes
    assert (first.get_title("left"), second.get_title("left")) == KEYS
    points, ends = drawn(first)
    assert points == {"age": [100], "city": [20], "hour": [0]}
    assert ends == [(80.4, 119.6), (0.4, 39.6), (-19.6, 19.6)]
    assert drawn(second, FIELDS)[0] == {"age": [10], "city": [9], "hour": [0]}
    assert "drop of AUC × 1000 when permuted; lines: 95 % intervals" in below(figure)


def test_fields_are_in_the_order_of_their_shares_and_few_keys_have_intervals():
    one = of_means((0.1, 0.2, -0.3), (0.03, 0.01, 0.001))
    assert findings.ranked(one, "permutation") == ["age", "city", "hour"]
    grid = sections.importance_grid(one, "permutation")
    assert grid.rows[0] == ["age", "100 ± 19.6", "30.0 ± 19.6"]
    assert "± half its 95 % interval" in grid.title


def test_the_text_of_one_model_has_nothing_of_seeds():
    text = text_of(found())
    assert "| click@all, cart@all | 0.500 | 0.200 to 0.800 | 0.010, 0.030 |" in text
    assert "| click/others |  | 50.0 % | 50.0 % | 0.900 |" in text
    assert "Every gate chooses in 1." in text
    assert "| click, cart | 0.100 | 0.050 | 3 of 1,024 rows |" in text
    assert "eed" not in text
    shown = printed(found())
    assert "Every gate chooses in 1." in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_gate_has_its_weights_those_of_segments_and_effective_ones():
    moved = {gate: dict(weights) for gate, weights in USE.items()}
    moved["click/others"] |= {"order/mlp_0": 0.12, "order/gdcn_0": 0.38}
    effective = {"click/others": USE["click/others"] | {"order/mlp_0": 0.02}}
    segments = {"Private": {"rows": 900, "use": USE}, "Other": {"rows": 800, "use": moved}}
    facts = {"use": USE, "effective": {"use": effective}, "segment": "work", "segments": segments}
    figure = pictures.gates([{"gates": facts}])
    own, others = figure.axes
    assert drawn(own)[0] == {"click/mlp_0": [0.5] * 4, "click/gdcn_0": [0.5] * 4}
    points = drawn(others)[0]  # its weight, an equal one, two segments, effective
    assert points["order/mlp_0"] == [0.02, 0.12, 0.2, 0.2, 0.333333]
    assert points["shared/mlp_0"] == [0.333333, *[0.5] * 4]
    inks = [bar.get_facecolor() for bar in others.patches]
    assert inks[0] == inks[1] != inks[2]
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["equal weights", "Private (900)", "Other (800)", "effective weight"]
    assert "marks: by work (rows, 100 at least)" in below(figure)


def test_a_cosine_over_training_has_a_band_of_its_interval():
    facts = {
        "gates": {},
        "cosines": {"a, b": [[1, 0.1], [2, None], [3, 0.3]], "a, c": [[1, 0.2]]},
        "cosine_halves": {"a, b": [[1, 0.05], [2, None], [3, 0.1]]},
    }
    figure = pictures.over_training({"gates": {}, "over_training": facts})
    (band,) = figure.axes[0].collections  # of the one pair that has intervals
    corners = {(float(x), round(float(y), 3)) for x, y in band.get_paths()[0].vertices}
    assert corners == {(1.0, 0.05), (1.0, 0.15), (3.0, 0.2), (3.0, 0.4)}


def test_pairs_are_drawn_the_strongest_first():
    def of_seed(first, second):
        strongest = [["age", "city", first], ["city", "hour", second]]
        return {"pairs": {"shared/gdcn_0": {"term": {"strongest": strongest}}}}

    figure = pictures.pairs([of_seed(0.2, 0.1), of_seed(0.1, 0.4)])
    assert list(drawn(figure.axes[0])[0].items()) == [
        ("city × hour", [0.1, 0.4]),
        ("age × city", [0.1, 0.2]),
    ]


def test_known_pairs_are_judged_by_stage():
    judged = {
        "own": {"auc": 0.5, "known": 3, "found": 1},
        "all": {"auc": 1, "known": 6, "found": 4},
    }
    facts = {"cart/gdcn_0": {"gates": {"age": 0.5}, "term": {"strongest": [], **judged}}}
    text = text_of(found(pairs=facts))
    assert "| cart/gdcn_0 | term | its stage | 0.500 | 1 of 3 |" in text
    assert "| cart/gdcn_0 | term | and before | 1.000 | 4 of 6 |" in text


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
    three = [found(1), found(2, age=0.01), found(3)]
    (own,) = findings.divergences(three, "permutation")
    assert own["seeds"] == (pytest.approx((0.5 + 0 + 0.5) / 3), 0)


def test_experts_of_one_kind_and_group_are_summed():
    """Their names' numbers mean nothing across seeds."""
    table = [row for row in findings.gate_weights(SEEDS) if row["kind"] == "shared/mlp"]
    assert [row["weight"] for row in table] == pytest.approx([0.6, 0.8, 0.1])
    assert [row["equal"] for row in table] == pytest.approx([2 / 3] * 3)
    assert findings.kind("level_1_click/mlp_0") == "level_1_click/mlp"
    assert findings.kind("order_2") == "order_2"  # a task's name


def test_the_text_of_several_has_means_and_spreads():
    text = text_of(*SEEDS)
    assert "means over 3 seeds ± their standard deviation" in text
    assert "| age | 200 ± 100 | 20.0 ± 0.00 |" in text
    assert "| hour | (1.00 ± 0.00) | (10.0 ± 0.00) |" in text  # within noise
    line = "| click@all, cart@all | 0.500 ± 0.100 | 0.200 to 0.800 | 0.010, 0.030 | 0.000, 0.000 |"
    assert f"{line} 0.400, 0.600, 0.500 | yes |" in text
    assert "| click/own | 100.0 ± 0.0 % |  |  |  |" in text
    assert "| click/others |  | 50.0 ± 36.1 % | 50.0 ± 36.1 % | 0.900 ± 0.000 |" in text
    assert "| click/others | shared/mlp | 50.0 ± 36.1 % | 60.0, 80.0, 10.0 | 66.7 % |" in text
    assert "Seed 2: Every gate chooses in 2." in text
    line = "| click, cart | 0.100 ± 0.200 | 0.050 | 3 of 1,024 rows | 0.100, -0.100, 0.300 |"
    assert line in text
    assert "![Mean gate weights](shop_gates.png)" in text


def test_every_picture_of_several_is_drawn(tmp_path):
    names = pictures.draw(SEEDS, tmp_path)
    methods = [f"importance_{m}" for m in ("permutation", "gradient", "unknown")]
    assert names == [*methods, "divergence", "gates", "conflict"]
    assert {p.name for p in tmp_path.iterdir()} == {f"{name}.png" for name in names}
