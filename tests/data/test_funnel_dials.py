"""The dials of the synthetic funnel's law: divergence, interactions, sparsity; their options."""

import hashlib
import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.synthetic import funnel, known_answer
from dtn_jax.datasets.synthetic.builder import Synthetic
from dtn_jax.datasets.synthetic.funnel import FIELDS, FunnelSpec
from dtn_jax.errors import UserError

BETWEEN = (("click", "cart"), ("click", "order"), ("cart", "order"))
DECLARED = {
    t: sum(w**2 for w in s.weights.values()) + sum(p[3] ** 2 for p in s.pairs)
    for t, s in funnel.STAGES.items()
}


def logits(spec, ids):
    p = funnel.probabilities(spec, ids)
    return np.log(p / (1 - p))


@pytest.fixture(scope="module")
def ids():
    """Of 40,000 rows; they are the same at every dial."""
    return funnel.rows(FunnelSpec(seed=3), 0, 40_000)[0]


def tables_of(spec, task):
    """{field: [V]}, {(field, field): [V, V]}: what labels are drawn from, by id."""
    mains, pairs = {}, {}
    for term in funnel._terms(spec)[task]:
        names = tuple(FIELDS[field] for field, _ in term)
        tables = [table for _, table in term]
        if len(names) == 1:
            mains[names[0]] = mains.get(names[0], 0) + tables[0][0]
        else:
            pairs[names] = pairs.get(names, 0) + tables[0].T @ tables[1]
    return mains, pairs


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.parametrize(
    ("options", "rows", "notes"),
    [
        ({}, "26543ef6fe25392c", "471c0c2e8c9d9828"),
        ({"rows": 20_000, "seed": 3}, "8368029884187349", "47303be0f7c95987"),
        ({"rows": 20_000, "seed": 7, "ids": 100_000}, "ffc0fd88b2c5ee51", "7f97e6229c9c3efa"),
    ],
)
def test_the_defaults_are_the_law_without_dials(options, rows, notes):
    """Recorded before there were dials: sets that are prepared stay what they are."""
    spec = FunnelSpec(**options)
    ids, labels = funnel.rows(spec, 100, 9_000)
    assert digest(ids.tobytes() + labels.tobytes()) == rows
    known = json.dumps(known_answer.truth(spec, sample=50_000))
    known = json.loads(known, parse_float=lambda text: round(float(text), 9))  # on any processor
    del known["true_divergence"]
    assert digest(json.dumps(known).encode()) == notes


@pytest.mark.parametrize(
    ("divergence", "interactions"), [(0, ""), (0.25, 0.6), (0.5, ""), (1, 0.6)]
)
def test_a_logits_variance_and_importances_are_those_of_its_tables(divergence, interactions):
    """Exactly, over the ids of each field: no sample."""
    spec = FunnelSpec(divergence=divergence, interactions=interactions)
    prob = {}
    for field, size in spec.sizes.items():
        head = funnel.id_probabilities(size, min(size, funnel.HEAD_IDS))
        rest = [1 - head.sum()] if size > funnel.HEAD_IDS else []
        prob[field] = np.concatenate([[0], head, rest])
    shares = known_answer.importance(spec)
    for task in funnel.TASKS:
        mains, pairs = tables_of(spec, task)
        parts = {(f,): prob[f] @ table**2 for f, table in mains.items()}
        parts |= {(i, j): prob[i] @ table**2 @ prob[j] for (i, j), table in pairs.items()}
        total = sum(parts.values())
        assert total == pytest.approx(DECLARED[task], rel=1e-12)
        effect = [sum(v for fields, v in parts.items() if f in fields) / total for f in FIELDS]
        np.testing.assert_allclose(shares[task], effect, rtol=1e-12)
        in_pairs = sum(v for fields, v in parts.items() if len(fields) == 2) / total
        if interactions:
            assert in_pairs == pytest.approx(interactions, rel=1e-12)


def test_at_no_divergence_all_logits_are_one_up_to_scale_and_bias(ids):
    spec = FunnelSpec(seed=3, divergence=0)
    click, cart, order = logits(spec, ids).T
    for logit, task in ((cart, "cart"), (order, "order")):
        scale = np.sqrt(DECLARED[task] / DECLARED["click"])
        expected = funnel.STAGES[task].bias + scale * (click - funnel.STAGES["click"].bias)
        np.testing.assert_allclose(logit, expected, rtol=0, atol=1e-9)
    own = logits(FunnelSpec(seed=3), ids)
    np.testing.assert_array_equal(click, own[:, 0])
    assert abs(np.corrcoef(own.T)[np.triu_indices(3, 1)]).max() < 0.03


def test_a_logit_between_is_the_mixture_of_the_ends(ids):
    none, half, full = (logits(FunnelSpec(seed=3, divergence=d), ids) for d in (0, 0.36, 1))
    bias = [stage.bias for stage in funnel.STAGES.values()]
    expected = bias + 0.8 * (none - bias) + 0.6 * (full - bias)
    np.testing.assert_allclose(half[:, 1:], expected[:, 1:], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(half[:, 0], full[:, 0])


def test_true_divergence_is_spearmans_and_rises():
    levels = (0, 0.25, 0.5, 0.75, 1)
    found = []
    for spec in (FunnelSpec(divergence=level) for level in levels):
        shares, known = known_answer.importance(spec), known_answer.true_divergence(spec)
        found.append([known[one][other] for one, other in BETWEEN])
        expected = [1 - spearmanr(shares[a], shares[b]).statistic for a, b in BETWEEN]
        np.testing.assert_allclose(found[-1], expected, atol=1e-12)
        assert known["order"]["click"] == known["click"]["order"]
    assert np.abs(found[0]).max() < 1e-12
    assert (np.diff(found, axis=0) > 0.05).all()


@pytest.mark.parametrize(("share", "kinds"), [(0, {1}), (1, {2})])
def test_interactions_take_or_leave_pairs_and_fields_alone(share, kinds, ids):
    spec = FunnelSpec(seed=3, divergence=0.5, interactions=share)
    got = {len(term.fields) for terms in spec.stages.values() for term in terms}
    assert got == kinds
    known = known_answer.truth(spec, sample=1_000)
    assert any(known["weights"].values()) == (share == 0)
    assert any(known["pairs"].values()) == (share == 1)
    # The best score, field by field: what one field adds does not depend on another, or all does.
    base, left, right, both = (ids[:2_000].copy() for _ in range(4))
    i, j = FIELDS.index("f206"), FIELDS.index("f121")
    for rows, fields in ((left, [i]), (right, [j]), (both, [i, j])):
        rows[:, fields] = ids[2_000:4_000, fields]
    a, b, c, d = (logits(spec, rows) for rows in (base, left, right, both))
    assert (np.abs(d - b - c + a).max() < 1e-9) == (share == 0)


def test_sparsity_makes_the_later_tasks_rare_and_leaves_the_rest(ids):
    usual, rare = FunnelSpec(seed=3), FunnelSpec(seed=3, sparsity=1.5)
    moved = logits(usual, ids) - logits(rare, ids)
    np.testing.assert_allclose(moved, np.tile([0, 1.5, 1.5], (len(ids), 1)), atol=1e-9)
    labels = funnel.rows(usual, 0, 40_000)[1], funnel.rows(rare, 0, 40_000)[1]
    np.testing.assert_array_equal(labels[1][:, 0], labels[0][:, 0])
    assert (labels[1] <= labels[0]).all()
    before, after = (known_answer.truth(spec, sample=20_000) for spec in (usual, rare))
    for name in ("cart@click", "order@cart"):
        assert np.exp(-1.5) < after["rates"][name] / before["rates"][name] < 0.5
    assert after["rates"]["click@all"] == before["rates"]["click@all"]
    assert (after["importance"], after["weights"]) == (before["importance"], before["weights"])
    assert after["bias"] == {"click": -1.6, "cart": -2.8, "order": -2.8}


OPTIONS = "rows=2000,seed=3,divergence=0.50,interactions=.8,sparsity=1"


def test_the_options_make_a_set_that_knows_its_law(tmp_path, monkeypatch):
    truth = known_answer.truth
    monkeypatch.setattr(known_answer, "truth", lambda spec: truth(spec, sample=2_000))
    data = catalog.load("synthetic", OPTIONS, data_dir=str(tmp_path))
    spec = FunnelSpec(**data.notes["spec"])
    assert spec == FunnelSpec(2_000, seed=3, divergence=0.5, interactions=0.8, sparsity=1)
    assert data.notes["true_divergence"] == known_answer.true_divergence(spec)
    assert "f206" in data.notes["weights"]["cart"]  # click's share of it
    same = catalog.make_builder("synthetic", OPTIONS.replace(".50", ".5"), str(tmp_path), "")
    assert str(same.data_dir) == str(data.folder)
    click = known_answer.bayes_scores(spec, funnel.rows(spec, 1_800, 200)[0])["click@all"]
    assert len(np.unique(click)) > 100
    for key in ("divergence", "interactions", "sparsity"):
        other = catalog.make_builder("synthetic", f"rows=2000,seed=3,{key}=0.3", str(tmp_path), "")
        assert other.data_dir.split("/")[-2] == f"rows2000_ids20000_seed3_{key}0.3"


def test_whole_numbers_are_numbers():
    builder = Synthetic(data_dir="", divergence=0)
    assert builder.variant() == "rows1000000_ids20000_seed0_divergence0.0"


def test_sets_of_the_default_law_keep_their_folder(tmp_path):
    texts = ("", "divergence=1", "sparsity=0", "divergence=1.0,sparsity=0.0")
    folders = {catalog.make_builder("synthetic", t, str(tmp_path), "").data_dir for t in texts}
    assert folders == {f"{tmp_path}/synthetic/rows1000000_ids20000_seed0/1.0.0"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("divergence=1.5", "data.options divergence=1.5: expected a number at least 0 and at most"),
        ("divergence=nan", "data.options divergence=nan: expected a number at least 0"),
        ("divergence=all", "data.options divergence expects a number at least 0 .*, got 'all'"),
        ("interactions=2", "data.options interactions=2.0: expected a number at least 0 and at mo"),
        ("sparsity=6", "data.options sparsity=6.0: expected a number at least 0 and at most 5"),
    ],
)
def test_dials_out_of_range_are_the_users_error(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        catalog.load("synthetic", options, data_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())
