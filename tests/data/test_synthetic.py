"""The synthetic set: the funnel's rows, rates and ids, its known answer and its dials."""

import dataclasses
import functools
import itertools
import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from dtn_jax.data.blocks import Layout
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.synthetic import funnel, known_answer
from dtn_jax.data.sets.synthetic.funnel import FunnelSpec

OPTIONS = "rows=20000,ids=20000,seed=3"
SPEC = FunnelSpec(rows=20_000, ids=20_000, seed=3)


@pytest.fixture(scope="module", autouse=True)
def small_sample():
    """The expected truth from fewer rows: seconds are saved, digits are lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_answer, "truth", functools.partial(known_answer.truth, sample=100_000))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory, small_sample):
    return catalog.load("synthetic", OPTIONS, data_dir=str(tmp_path_factory.mktemp("prepared")))


@pytest.fixture(scope="module")
def splits(data):
    return {split: SplitReader(data, split).everything() for split in data.rows}


def test_rows_are_the_funnels_in_order(data, splits, drawn):
    assert data.rows == {"train": 16_000, "validation": 2_000, "test": 2_000}
    assert data.layout == Layout(lanes=4, block_rows=128)
    ids, labels = (whole[:20_000] for whole in drawn)
    np.testing.assert_array_equal(np.concatenate([b.ids for b in splits.values()]), ids)
    np.testing.assert_array_equal(np.concatenate([b.labels for b in splits.values()]), labels)
    assert all(b.label_mask.all() for b in splits.values())


def test_the_test_splits_own_bayes_auc(data, splits):
    batch = splits["test"]
    scores = known_answer.bayes_scores(SPEC, batch.ids)
    click, cart, order = batch.labels.T == 1
    every = np.ones(2_000, bool)
    for name, label, space in (
        ("click@all", click, every),
        ("cart@click", cart, click),
        ("order@cart", order, cart),
        ("order@all", order, every),
    ):
        expected = roc_auc_score(label[space], scores[name][space])
        got = data.notes["test_bayes_auc"][name]
        assert got == pytest.approx(expected, abs=1e-6)
        assert got == pytest.approx(data.notes["bayes_auc"][name], abs=0.1)
        assert got > 0.6


DIALED = "rows=2000,seed=3,divergence=0.50,interactions=.8,sparsity=1"


def test_the_options_make_a_set_that_knows_its_law(tmp_path):
    data = catalog.load("synthetic", DIALED, data_dir=str(tmp_path))
    spec = FunnelSpec(**data.notes["spec"])
    assert spec == FunnelSpec(2_000, seed=3, divergence=0.5, interactions=0.8, sparsity=1)
    assert data.notes["true_divergence"] == known_answer.true_divergence(spec)
    same = catalog.make_builder("synthetic", DIALED.replace(".50", ".5"), str(tmp_path), "")
    assert str(same.data_dir) == str(data.folder)
    click = known_answer.bayes_scores(spec, funnel.rows(spec, 1_800, 200)[0])["click@all"]
    assert len(np.unique(click)) > 100
    for key in ("divergence", "interactions", "sparsity"):
        other = catalog.make_builder("synthetic", f"rows=2000,seed=3,{key}=0.3", str(tmp_path), "")
        assert other.data_dir.split("/")[-2] == f"rows2000_ids20000_seed3_{key}0.3"


# The synthetic funnel: its rows, rates and ids, its known answer, and the dials of its law.


SPACES = ["click@all", "cart@all", "cart@click", "order@all", "order@click", "order@cart"]


@pytest.fixture(scope="module")
def spec():
    return FunnelSpec(rows=100_000, ids=20_000, seed=3)


@pytest.fixture(scope="module")
def drawn(spec):
    return funnel.rows(spec, 0, spec.rows)


def logits(spec, ids):
    p = funnel.probabilities(spec, ids)
    return np.log(p / (1 - p))


BLOCK = funnel.BLOCK_ROWS


def test_rows_depend_neither_on_how_the_range_is_cut_nor_on_their_number(spec, drawn):
    draws = np.random.default_rng(0).integers(0, 30_000, 7)
    cuts = sorted([1, BLOCK - 1, BLOCK, BLOCK, BLOCK + 1, 3 * BLOCK, *draws.tolist()])
    parts = [funnel.rows(spec, a, b - a) for a, b in itertools.pairwise([0, *cuts, 30_000])]
    longer = dataclasses.replace(spec, rows=funnel.MAX_ROWS)
    others = funnel.rows(longer, 100, 9_000)
    for whole, cut, other in zip(drawn, zip(*parts, strict=True), others, strict=True):
        np.testing.assert_array_equal(np.concatenate(cut), whole[:30_000])
        np.testing.assert_array_equal(other, whole[100:9_100])
    ids, labels = funnel.rows(longer, funnel.MAX_ROWS - 3, 3)
    assert (ids.shape, labels.shape) == ((3, 23), (3, 3))


def test_the_answer_is_that_of_drawn_labels(spec, drawn):
    known = json.loads(json.dumps(known_answer.truth(spec, sample=100_000)))
    assert known["spec"] == {"rows": 100_000, "ids": 20_000, "seed": 3}
    assert known["pairs"]["order"][2] == ["f121", "f124", 1, 0.45]
    assert known["importance"]["cart"]["f508"] == max(known["importance"]["cart"].values())
    assert sorted(known["bayes_auc"]) == sorted(known["rates"]) == sorted(SPACES)
    # What is taken on clicks must be weighted by the probability of a click.
    rates = known["rates"]
    assert rates["cart@all"] == pytest.approx(rates["click@all"] * rates["cart@click"], rel=1e-9)
    assert rates["order@all"] == pytest.approx(rates["cart@all"] * rates["order@cart"], rel=1e-9)
    ids, labels = drawn
    assert (np.diff(labels.astype(int), axis=1) <= 0).all()  # no cart without a click
    scores = known_answer.bayes_scores(spec, ids)
    space = {"all": np.ones(len(ids), bool), "click": labels[:, 0] == 1, "cart": labels[:, 1] == 1}
    for name in SPACES:
        task, where = name.split("@")
        p = scores[name][space[where]]
        label = labels[space[where], funnel.TASKS.index(task)].astype(int)
        # By tenths of the score: labels of other rows would match overall, but not there.
        for part in np.array_split(np.argsort(p), 10):
            z = (label[part].sum() - p[part].sum()) / np.sqrt((p[part] * (1 - p[part])).sum())
            assert abs(z) < 4.5, (name, z)
        # 5 standard errors of an AUC near 0.85 (Hanley and McNeil), the sample's own included.
        near = 5 * np.sqrt(2 * 0.06 / min(label.sum(), (1 - label).sum()))
        got = roc_auc_score(label, p)
        assert known["bayes_auc"][name] == pytest.approx(got, abs=near)
        assert known["rates"][name] == pytest.approx(label.mean(), abs=0.02)


# --- dials ---------------------------------------------------------------------------------------

BETWEEN = (("click", "cart"), ("click", "order"), ("cart", "order"))
DECLARED = {
    t: sum(w**2 for w in s.weights.values()) + sum(p[3] ** 2 for p in s.pairs)
    for t, s in funnel.STAGES.items()
}


@pytest.fixture(scope="module")
def ids():
    """Of 40,000 rows; they are the same at every dial."""
    return funnel.rows(FunnelSpec(seed=3), 0, 40_000)[0]


@pytest.mark.parametrize(
    ("divergence", "interactions"), [(0, ""), (0.25, 0.6), (0.5, ""), (1, 0.6), (1, "")]
)
def test_importance_is_the_total_effect(divergence, interactions, ids):
    """By Jansen's estimator: redraw one field, see how far the logit moves."""
    spec = FunnelSpec(seed=3, divergence=divergence, interactions=interactions)
    base = logits(spec, ids[:30_000])
    np.testing.assert_allclose(base.var(0), list(DECLARED.values()), rtol=0.05)
    shares = np.stack(list(known_answer.importance(spec).values()))
    for index in range(23):
        changed = ids[:30_000].copy()
        changed[:, index] = np.roll(ids[:, index], 10_000)[:30_000]
        effect = ((logits(spec, changed) - base) ** 2).mean(0) / 2 / base.var(0)
        np.testing.assert_allclose(effect, shares[:, index], rtol=0.15, atol=2e-3)
        assert ((effect == 0) == (shares[:, index] == 0)).all()
    if interactions:
        for terms in spec.stages.values():
            found = [sum(t.weight**2 for t in terms if len(t.fields) >= n) for n in (1, 2)]
            assert found[1] / found[0] == pytest.approx(interactions, rel=1e-12)


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
    assert after["importance"] == before["importance"]
    assert rare.biases == {"click": -1.6, "cart": -2.8, "order": -2.8}
