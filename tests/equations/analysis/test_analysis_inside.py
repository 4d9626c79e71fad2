"""What is inside a model: gates, pairs of fields, conflict, by segment and over training."""

import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import batch_of
from flax import linen as nn
from ml_collections import ConfigDict
from tiny_runs import SCHEMA, B, D, inputs_of, rows, tiny

from configs.base import get_config
from dtn_jax.analysis import gate_use, pairs, watch
from dtn_jax.analysis import segments as segments_module
from dtn_jax.analysis.conflict import batches_of, make_conflict, over_batches, table_cosines
from dtn_jax.analysis.sample import Forward
from dtn_jax.analysis.segments import chosen_segment, segments
from dtn_jax.data.epochs.reader import take
from dtn_jax.errors import UserError
from dtn_jax.interface import Outputs
from dtn_jax.run.optimizers import hyper
from dtn_jax.run.state import State
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import make_plan

TASKS = ("click", "order")


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
        ("shared/block_0", "token/histories", "attended"),
    ],
)
def test_whose_an_expert_is(gate, source, whose):
    assert gate_use.relation(gate, source, TASKS) == whose


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
        ({"click/block_0": {"token/a": 0.99, "token/b": 0.01}}, []),
    ],
)
def test_collapse_is_warned_of(use, warned):
    found = gate_use.collapse(
        [
            {
                "gate": gate,
                "source": source,
                "whose": gate_use.relation(gate, source, TASKS),
                "part": gate_use.ALL,
                "weight": weight,
            }
            for gate, weights in use.items()
            for source, weight in weights.items()
        ]
    )
    assert len(found) == len(warned)
    assert all(message.startswith(start) for message, start in zip(found, warned))


def test_evenness_is_the_entropy_of_a_row():
    weights = np.array([[0.5, 0.5], [1, 0], [0.25, 0.75]])
    entropy = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    expected = (1 + 0 + entropy / np.log(2)) / 3
    found = gate_use.evenness({"a": weights[:, 0], "b": weights[:, 1]})
    assert found == pytest.approx(expected, rel=1e-12)
    assert gate_use.evenness({"a": np.ones(3)}) is None


def test_gate_weights_of_a_sample_are_the_models(gated):
    found = gated.passes.map(gate_use.make_gates(gated.passes.forward))
    weights = found["gates"]
    assert found["effective"] == {}
    experts = {"shared/gdcn_0", "shared/mlp_0"}
    assert {gate: set(w) for gate, w in weights.items()} == dict.fromkeys(
        SCHEMA.task_names, experts
    )
    for gate in weights.values():
        np.testing.assert_allclose(sum(gate.values()), np.ones(B), rtol=1e-12)
    mask = np.arange(B) % 3 == 0
    table = gate_use.rows(weights, SCHEMA.task_names, "a third", mask)
    assert list(dict.fromkeys(row["gate"] for row in table)) == list(SCHEMA.task_names)
    (row,) = (r for r in table if (r["gate"], r["source"]) == ("click", "shared/mlp_0"))
    assert (row["whose"], row["part"]) == ("shared", "a third")
    assert row["weight"] == weights["click"]["shared/mlp_0"][mask].mean()


# ---------------------------------------------------------------- segments


@pytest.mark.parametrize(
    ("fewest", "shown"),
    [(1, [*range(8), "rarer values (10)"]), (9, [*range(4), "rarer values (10)"]), (12, [0])],
)
def test_segments_by_value_are_the_most_frequent_ones_by_name(monkeypatch, fewest, shown):
    monkeypatch.setattr(segments_module, "FEWEST", fewest)
    ids = np.repeat(np.arange(12), np.arange(12, 0, -1)).astype(np.int32)[:, None]
    batch = rows(count=len(ids)).replace(ids=ids)
    schema = Schema("x", [Field("plan", rows=12)], [Task("click")])
    assert chosen_segment(schema, "") == "plan"
    plans = {i: f"plan {i}" for i in range(1, 12)}
    monkeypatch.setattr(segments_module.vocabulary, "names", lambda *_: plans)
    run = types.SimpleNamespace(schema=schema, data=types.SimpleNamespace(folder=pathlib.Path()))
    found = segments(batch, None, run, "plan")
    names = {i: f"{f'plan {i}' if i else 'unknown'} ({12 - i})" for i in range(8)}
    assert list(found) == [f"plan {names.get(name, name)}" for name in shown]
    np.testing.assert_array_equal(found["plan unknown (12)"], ids[:, 0] == 0)


def test_a_segment_that_is_not_there_is_refused():
    schema = Schema("x", [Field("plan", rows=12)], [Task("click")])
    with pytest.raises(UserError, match=r"unknown segment 'plam'\. Did you mean 'plan'"):
        chosen_segment(schema, "plam")
    with pytest.raises(UserError, match="unknown segment 'group'"):
        chosen_segment(schema, "group")


def test_segments_by_group_are_its_activity(monkeypatch):
    monkeypatch.setattr(segments_module, "FEWEST", 5)
    group = np.repeat([7, 8, 9, 3], [1, 2, 5, 12])
    schema = Schema("x", [Field("plan", rows=12)], [Task("click")], group="user")
    assert chosen_segment(schema, "") == "group"
    found = segments(rows(count=20), group, None, "group")
    assert list(found) == ["group of 1 to 5 rows (8)", "group of 12 to 12 rows (12)"]
    np.testing.assert_array_equal(found["group of 12 to 12 rows (12)"], group == 3)


# ---------------------------------------------------------------- pairs


def test_pair_terms_are_those_of_a_loop(gated):
    found = pairs.pair_strengths(gated.passes)
    assert list(found) == ["shared/gdcn_0"]
    x, own = np.asarray(inputs_of(gated).fields["shared"]), gated.state.params["shared"]["gdcn_0"]
    W, V = (np.asarray(own[f"{name}_0"]["kernel"]) for name in ("cross", "gate"))
    gate = 1 / (1 + np.exp(-x.reshape(B, -1) @ V)).reshape(B, 4, D)
    away = x - x.mean(axis=0)
    got = found["shared/gdcn_0"]
    for f, g in ((0, 1), (1, 3), (2, 0)):
        blocks = [W[a * D : (a + 1) * D, b * D : (b + 1) * D] for a, b in ((f, g), (g, f))]
        terms = [
            away[:, b] * (away[:, a] @ w) * gate[:, b]
            for (a, b), w in zip(((f, g), (g, f)), blocks)
        ]
        term = np.sqrt(sum((t**2).sum() for t in terms) / B)
        assert got[f, g] == pytest.approx(term, rel=1e-9)
        assert got[g, f] == got[f, g]
    table = pairs.strongest(gated.passes)
    assert len(table) == 6  # of four fields
    fields, apart = SCHEMA.field_names, np.triu(got, 1)  # a field beside itself is no pair
    i, j = np.unravel_index(apart.argmax(), apart.shape)
    assert table[0] == {"expert": "shared/gdcn_0", "pair": f"{fields[i]} × {fields[j]}",
                        "strength": pytest.approx(apart.max())}  # fmt: skip


# ---------------------------------------------------------------- conflict


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_cosines_are_those_of_the_gradients_summed_by_row(platform):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(3, 8, 2, 4))
    ids = rng.integers(0, 6, (8, 2))
    ids[0], ids[1, 1] = 6, 6  # masked, and padding
    cosines = jax.jit(table_cosines, static_argnums=(2, 3, 4))
    found = cosines(gradients, ids, 6, ("a", "b", "c"), platform)
    tables = np.zeros((3, 6, 4))
    for b, slot in np.ndindex(8, 2):
        if ids[b, slot] < 6:
            tables[:, ids[b, slot]] += gradients[:, b, slot]
    flat = tables.reshape(3, -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    for (s, t), (i, j) in {("a", "b"): (0, 1), ("a", "c"): (0, 2), ("b", "c"): (1, 2)}.items():
        assert found[s, t] == pytest.approx(flat[i] @ flat[j], abs=1e-5)


class TwoHeads(nn.Module):
    """Both tasks have the logit: the sum of all embeddings."""

    @nn.compact
    def __call__(self, inputs, train):
        logit = inputs.fields["shared"].sum(axis=(1, 2))
        return Outputs(logits={"click": logit, "order": logit})


@pytest.mark.parametrize(("order", "cosine"), [("same", 1), ("opposite", -1), ("one class", None)])
def test_conflict_of_equal_and_of_opposite_tasks(order, cosine):
    config = get_config()
    schema = Schema("x", [Field("item", rows=5)], [Task("click"), Task("order")])
    plan = make_plan(schema, config.model, ("shared",), 0)
    rng = np.random.default_rng(0)
    click = (rng.random(16) < 0.5).astype(np.float32)
    labels = {"same": click, "opposite": 1 - click, "one class": click}[order]
    batch = batch_of(
        rng.integers(0, 5, (16, 1)).astype(np.int32),
        np.stack([click, labels], axis=1),
        label_mask=np.stack([np.ones(16, bool), np.full(16, cosine is not None)], axis=1),
    )
    tables = {"embedding": jnp.zeros((plan.rows, plan.dim))}  # logits of 0: p - y is +- 1/2
    state = State(0, None, {}, {}, {}, tables, {}, hyper(config, schema))
    found = jax.jit(make_conflict(config.loss, Forward(TwoHeads(), plan)))(state, batch)
    if cosine is None:  # order has no label: its gradient is 0
        assert np.isnan(found["click", "order"])
    else:
        assert found["click", "order"] == pytest.approx(cosine, abs=1e-6)


def test_batches_are_disjoint_and_one_where_there_are_few_rows():
    assert len(np.unique(batches_of(25, 10))) == 20
    assert sorted(batches_of(7, 10)[0]) == list(range(7))


def test_the_interval_of_a_mean_over_batches_holds_the_true_one():
    """In 95 % of many draws of 4 batches; a normal interval would in 85."""
    drawn = np.random.default_rng(0).normal(0.1, 0.05, (2_000, 4))
    found = np.array([over_batches(own) for own in drawn])
    assert np.mean(np.abs(found[:, 0] - 0.1) < found[:, 1]) == pytest.approx(0.95, abs=0.015)
    assert over_batches(np.array([0.5, np.nan])) == (0.5, None)
    assert over_batches(np.array([np.nan])) == (None, None)


# ---------------------------------------------------------------- over training


@pytest.mark.slow
def test_what_is_watched_is_the_mean_over_the_rows(gated, monkeypatch):
    given = rows(seed=1, count=33)  # 2 devices: one row is padding
    asked = []

    def read(*arguments):
        asked.append(arguments)
        return given, None

    monkeypatch.setattr(watch, "read_sample", read)
    run = gated.run
    config = ConfigDict(run.config.to_dict())
    config.analysis.rows, config.data.batch_size = 33, 11
    watched = watch.Watch(config, run.data, run.model, run.plan, run.at)
    assert asked == [(run.data, "validation", 33, watch.SEED)]
    record = watched.record(gated.state, 7, 0.5)
    assert (record["kind"], record["step"], record["epoch"]) == ("analysis", 7, 0.5)
    gates = jax.jit(gate_use.make_gates(gated.passes.forward))
    conflict = jax.jit(make_conflict(config.loss, gated.passes.forward))
    batch = run.at.put(take(given, np.arange(-1, 33)), run.at.batch())
    by_gate = gates(gated.state, batch)["gates"]
    for gate, sources in by_gate.items():
        for source, w in sources.items():
            mean = np.asarray(w)[1:].mean()
            assert record[f"gate:{gate}:{source}"] == pytest.approx(mean, rel=1e-9)
    assert [int(batch.row_mask.sum()) for batch in watched.batches] == [11, 11, 11]
    each = [conflict(gated.state, batch) for batch in watched.batches]
    for pair in each[0]:
        cosines = np.array([found[pair] for found in each])
        half = 4.302653 * cosines.std(ddof=1) / np.sqrt(3)  # Student's, of 2 degrees of freedom
        assert record[f"cosine:{':'.join(pair)}"] == pytest.approx(cosines.mean(), rel=1e-5)
        assert record[f"cosine_half:{':'.join(pair)}"] == pytest.approx(half, rel=1e-5)
    assert len(record) == 3 + 3 * 2 + 3 * 2
