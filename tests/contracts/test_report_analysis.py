"""What is shown of importance, divergence, gates, conflict and pairs: of one model, and of several
seeds' models."""

import io
import pathlib

import numpy as np
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


def test_what_is_within_noise_is_in_brackets_on_cells_of_any_colour():
    """age of cart is within noise and the largest of its column, so on the darkest cell."""
    one = of_means((0.1, 0.02, 0), (0.01, 0.009, 0))
    figure = pictures.heat_map(one, "permutation")
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["100", "(10.0)", "20.0", "(9.00)", "(0.00)", "(0.00)"]
    assert figure.axes[0].texts[1].get_color() == "white"
    assert "in brackets: within noise of 0" in below(figure)
    clear = of_means((0.1, 0.02, 0.03), (0.01, 0.009, 0.02), error=1e-4)
    assert "brackets" not in below(pictures.heat_map(clear, "permutation"))  # there are none


def test_nothing_is_said_of_noise_of_0_where_values_are_absolute():
    """In the picture and in the table."""
    keys = [f"t{k}@all" for k in range(4)]
    means = dict.fromkeys(keys, (0.1, 0.0, 0.02))
    one = [{"methods": {name: method(means, error=0.05) for name in ("gradient", "unknown")}}]
    figure = pictures.heat_map(one, "gradient")
    assert {text.get_text() for text in figure.axes[0].texts} == {"100", "0.00", "20.0"}
    grid = sections.importance_grid(one, "gradient")
    assert grid.rows == [["age", *["100"] * 4], ["hour", *["20.0"] * 4], ["city", *["0.00"] * 4]]
    for said in (below(figure), grid.title):
        assert "a field without influence has more than 0 too" in said
        assert "brackets" not in said
    unknown = sections.importance_grid(one, "unknown")
    assert ["city", *["(0.00)"] * 4] in unknown.rows


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


def test_a_gate_has_its_weights_and_below_them_how_far_segments_depart():
    moved = {gate: dict(weights) for gate, weights in USE.items()}
    moved["click/others"] |= {"order/mlp_0": 0.12, "order/gdcn_0": 0.38}
    effective = {"click/others": USE["click/others"] | {"order/mlp_0": 0.02}}
    long = "Self-employed-not incorporated, or unpaid in a relative's shop"
    segments = {"Private": {"rows": 90, "use": USE}, long: {"rows": 8, "use": moved}}
    facts = {"use": USE, "effective": {"use": effective}, "segment": "work", "segments": segments}
    figure = pictures.gates({"gates": facts})
    own, others = figure.axes
    labels = [label.get_text() for label in own.get_yticklabels()]
    assert [text.replace("\n", " ").replace("- ", "-") for text in labels] == [
        "all rows", "effective", "Private (90)", f"{long} (8)"
    ]  # fmt: skip
    assert max(len(line) for text in labels for line in text.split("\n")) <= pictures.LABEL
    cells = [text.get_text() for text in own.texts]
    assert cells[:6] == ["50.0", "50.0", "=", "=", "0.0", "0.0"]
    cells = [text.get_text() for text in others.texts]
    assert cells[:6] == ["20.0", "30.0", "50.0", "2.0", "30.0", "50.0"]
    assert cells[6:] == ["0.0", "0.0", "0.0", "-8.0", "+8.0", "0.0"]
    colours = others.collections[0].get_array().reshape(4, 3)
    np.testing.assert_allclose(colours[3], [-0.08, 0.08, 0], atol=1e-12)
    inks = {label.get_text(): label.get_color() for label in others.get_xticklabels()}
    assert inks["order\nmlp_0"] == inks["order\ngdcn_0"] != inks["shared\nmlp_0"]
    assert "by work (rows, 100 at least): points more or less; effective: times" in below(figure)


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


def symmetric(upper):
    upper = np.triu(upper, 1)
    return upper + upper.T


def test_of_many_fields_the_pairs_shown_are_the_strongest_ones(monkeypatch):
    """One triangle of 24 of 39 fields, with names of a size to be read."""
    drawn = []
    monkeypatch.setattr(pictures, "save_small", lambda figure, path: drawn.append(figure))
    fields = [f"field_{i}" for i in range(39)]
    rng = np.random.default_rng(0)
    strengths = {"a/gdcn_0": symmetric(rng.random((39, 39))), "b/gdcn_0": np.zeros((39, 39))}
    strengths["a/gdcn_0"][[3, 38], [38, 3]] = 5
    strengths["b/gdcn_0"][[7, 30], [30, 7]] = 1e-3  # the strongest of its expert
    pictures.pairs(strengths, fields, {}, {}, pathlib.Path("a"))
    axes = drawn[0].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert 22 < len(names) <= 24
    assert {"field_3", "field_38", "field_7", "field_30"} <= set(names)
    assert names == sorted(names, key=fields.index)
    assert min(label.get_fontsize() for label in axes.get_yticklabels()) >= 8
    assert f"the {len(names)} of 39 fields with" in below(drawn[0])
    cells = axes.collections[0].get_array().reshape(len(names), -1)
    np.testing.assert_array_equal(cells.mask, np.triu(np.ones_like(cells.mask)))
    assert cells[names.index("field_38"), names.index("field_3")] == 1


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
    table = findings.gate_weights(SEEDS)
    own = table.filter(gate="click/others", kind="shared/mlp")
    assert own["weight"].to_list() == pytest.approx([0.6, 0.8, 0.1])
    assert own["experts"].to_list() == [2, 2, 2]
    assert findings.kind("level_1_click/mlp_0") == "level_1_click/mlp"
    assert findings.kind("order_2") == "order_2"  # a task's name


def test_the_strongest_kind_is_that_of_the_strongest_expert():
    """0.6 of two experts is less than 0.4 of one."""
    found = findings.strongest(findings.gate_weights(SEEDS))
    assert found == {"click/others": ["cart/gdcn", "shared/mlp", "cart/gdcn"]}


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
    assert "differs between seeds: click/others (cart/gdcn, shared/mlp, cart/gdcn)." in text
    assert "same in every seed" not in text
    line = "| click, cart | 0.100 ± 0.200 | 0.050 | 3 of 1,024 rows | 0.100, -0.100, 0.300 |"
    assert line in text
    assert "![Mean gate weights](shop_gates.png)" in text


def test_every_picture_of_several_is_drawn(tmp_path):
    names = pictures.draw(SEEDS, tmp_path, "shop_")
    methods = [f"importance_{m}" for m in ("permutation", "gradient", "unknown")]
    assert names == [*methods, "divergence", "gates", "conflict"]
    assert {p.name for p in tmp_path.iterdir()} == {f"shop_{name}.png" for name in names}
