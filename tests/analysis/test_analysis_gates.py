"""Use of gates: whose experts they weigh, collapse, effective weights."""

import jax
import numpy as np
import pytest
from tiny_runs import SCHEMA, B, tiny

from dtn_jax.analysis import gate_use, inside, markdown, tables

TASKS = ("click", "order")
QUICK = {"model__gdcn__layers": 1, "parallel__devices": 1}  # quick to compile


@pytest.fixture(scope="module")
def gated():
    with jax.enable_x64(True):
        yield tiny("mmoe")


@pytest.mark.parametrize(
    ("gate", "source", "whose"),
    [
        ("click", "shared/mlp_0", "shared"),
        ("click/own", "click/gdcn_1", "own"),
        ("click/others", "order/gdcn_1", "other"),
        ("click/level_0", "level_0_click/mlp_0", "own"),
        ("click/level_1", "level_1_order/mlp_0", "other"),
        ("shared/level_0", "level_0_shared/mlp_0", "own"),
        ("order/level_0", "level_0_shared/mlp_0", "shared"),
        ("order", "click", "other"),  # AITM
        ("order", "order", "own"),
    ],
)
def test_whose_an_expert_is(gate, source, whose):
    assert gate_use.relation(gate, source, TASKS) == whose


def test_relations_sum_the_weights_of_each():
    use = {
        "click/others": {"order/mlp_0": 0.2, "order/mlp_1": 0.1, "shared/mlp_0": 0.7},
        "click/own": {"click/mlp_0": 1.0},
    }
    found = gate_use.relations(use, TASKS)
    assert found["click/others"] == pytest.approx({"other": 0.3, "shared": 0.7})
    assert found["click/own"] == {"own": 1.0}


def test_gates_are_in_the_tasks_order_with_the_own_first():
    given = ["shared/level_0", "click/others", "click/own", "order/own", "order/others"]
    ordered = gate_use.in_order({gate: {} for gate in given}, ("order", "click"))
    assert list(ordered) == [
        "order/own", "order/others", "click/own", "click/others", "shared/level_0"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("use", "warned"),
    [
        ({"click": {"a": 0.5, "b": 0.5}, "order": {"a": 0.9, "b": 0.1}}, []),
        ({"click": {"a": 0.94, "b": 0.06}, "order": {"a": 0.94, "b": 0.06}}, []),
        ({"click/own": {"a": 1.0}}, []),  # one expert is no choice
        ({"click": {"a": 0.96, "b": 0.04}, "order": {"a": 0.5, "b": 0.5}}, ["gate click gives a"]),
        (
            {"click": {"a": 0.5, "b": 0.48, "c": 0.02}, "order": {"a": 0.5, "b": 0.47, "c": 0.03}},
            ["c is hardly used"],
        ),
        ({"click": {"a": 0.5, "b": 0.48, "c": 0.02}, "order": {"a": 0.3, "b": 0.3, "c": 0.4}}, []),
        (
            {"click": {"a": 0.99, "b": 0.01}, "order": {"a": 0.97, "b": 0.03}},
            ["gate click gives a", "gate order gives a", "b is hardly used"],
        ),
        # Effective weights: click is rare, and TSN leaves little of its experts for order.
        ({"click/own": {"a": 1.0}, "order/others": {"a": 0.01, "b": 0.5}}, ["gate order/others"]),
        # Effective weights: a stream that has its own expert through AdaTT's native weights.
        ({"click": {"a": 1.02, "b": 0.49, "c": 0.49}, "order": {"a": 0.0, "b": 1.5, "c": 0.5}}, []),
        ({"click": {"a": -0.5, "b": 0.5}}, []),
    ],
)
def test_collapse_is_warned_of(use, warned):
    found = gate_use.collapse(use)
    assert len(found) == len(warned)
    assert all(message.startswith(start) for message, start in zip(found, warned))


def test_evenness_is_the_entropy_of_a_row():
    weights = np.array([[0.5, 0.5], [1, 0], [0.25, 0.75]])
    entropy = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    expected = (1 + 0 + entropy / np.log(2)) / 3
    found = gate_use.evenness({"a": weights[:, 0], "b": weights[:, 1]})
    assert found == pytest.approx(expected, rel=1e-12)
    assert gate_use.evenness({"a": np.ones(3)}) is None


@pytest.mark.parametrize(
    ("evenness", "said"),
    [
        ({"a": 0.99, "b": 1.0, "c": None}, "The gates hardly choose: evenness 0.990 to 1.000."),
        ({"a": 0.99, "b": 0.7}, "1 of 2 gates hardly choose (evenness over 0.98): a."),
        ({"a": 0.98, "b": 0.7}, "Every gate chooses: evenness 0.700 to 0.980."),
        ({"a": None}, ""),
    ],
)
def test_whether_the_gates_choose_is_said(evenness, said):
    use = {"a": {"x": 0.5, "y": 0.5}}
    assert gate_use.reading(evenness, use, {}) == said
    parts = {"few": {"a": {"x": 0.46, "y": 0.54}}, "many": {"a": {"x": 0.55, "y": 0.45}}}
    apart = " In no segment is a mean weight more than 5.0 points from that of all rows."
    assert gate_use.reading(evenness, use, parts) == (said and said + apart)


def test_gate_weights_of_a_sample_are_the_models(gated):
    found = gated.passes.map(
        gate_use.make_gates(gated.run.model, gated.run.plan, gated.run.at.table_mesh)
    )
    weights = found["gates"]
    assert found["effective"] == {}
    experts = {"shared/gdcn_0", "shared/mlp_0"}
    assert {gate: set(w) for gate, w in weights.items()} == dict.fromkeys(
        SCHEMA.task_names, experts
    )
    for gate in weights.values():
        np.testing.assert_allclose(sum(gate.values()), np.ones(B), rtol=1e-12)
    mask = np.arange(B) % 3 == 0
    own = weights["click"]["shared/mlp_0"]
    assert gate_use.mean_use(weights, mask)["click"]["shared/mlp_0"] == own[mask].mean()


def test_effective_weights_are_reported_beside_the_gates(tmp_path, monkeypatch):
    """Of AdaTT, whose experts a constant reaches too: of one expert a group it is 1."""
    asked, collapse = [], gate_use.collapse
    monkeypatch.setattr(gate_use, "collapse", lambda use: asked.append(use) or collapse(use))
    with jax.enable_x64(True):
        model = tiny("adatt", model__experts="mlp", model__adatt__levels=1, **QUICK)
        facts = inside.gate_facts(model.passes, "", {}, tmp_path)
    use, scaled = facts["use"], facts["effective"]["use"]
    for gate, weights in use.items():
        own = f"level_0_{gate.partition('/')[0]}/mlp_0"
        for source, weight in weights.items():
            assert scaled[gate][source] == pytest.approx(weight + (source == own))
        relations = facts["effective"]["relations"][gate]
        assert relations["own"] == pytest.approx(facts["relations"][gate]["own"] + 1)
    assert asked == [scaled]
    _, rows = tables.gate_rows(facts)
    assert [row[0] for row in rows[:2]] == ["click/level_0", "click/level_0, effective"]
    assert float(rows[1][1].split()[0]) == pytest.approx(float(rows[0][1].split()[0]) + 100)
    assert facts["reading"].endswith(".")
    text = "".join(markdown.gates({"gates": facts}))
    assert facts["reading"] in text
    lines = tables.gates_table(facts).renderables[2].plain.splitlines()
    assert (lines[0][:10], lines[1:]) == ("effective:", [facts["reading"]])
    assert "AdaTT's native weights" in text
    assert "How large the experts' outputs are is not in these numbers" in text
