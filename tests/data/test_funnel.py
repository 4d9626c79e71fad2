"""The synthetic funnel: its rows, rates and ids, and its known answer, effects and best AUCs."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from dtn_jax.datasets.synthetic import funnel, known_answer

SPACES = ["click@all", "cart@all", "cart@click", "order@all", "order@click", "order@cart"]


@pytest.fixture(scope="module")
def spec():
    return funnel.FunnelSpec(rows=100_000, ids=20_000, seed=3)


@pytest.fixture(scope="module")
def data(spec):
    return funnel.rows(spec, 0, spec.rows)


def logits(spec, ids):
    p = funnel.probabilities(spec, ids)
    return np.log(p / (1 - p))


BLOCK = funnel.BLOCK_ROWS


@pytest.mark.parametrize(
    "cuts",
    [
        [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK],
        [5_000, 5_000, 29_999],
        sorted(np.random.default_rng(0).integers(0, 30_000, 7).tolist()),
    ],
    ids=["block edges", "empty part", "random"],
)
def test_rows_do_not_depend_on_how_the_range_is_cut(spec, data, cuts):
    parts = [funnel.rows(spec, a, b - a) for a, b in itertools.pairwise([0, *cuts, 30_000])]
    for whole, cut in zip(data, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(cut), whole[:30_000])


def test_rows_do_not_depend_on_the_number_of_rows(spec, data):
    longer = dataclasses.replace(spec, rows=funnel.MAX_ROWS)
    for got, expected in zip(funnel.rows(longer, 100, 9_000), data, strict=True):
        np.testing.assert_array_equal(got, expected[100:9_100])
    ids, labels = funnel.rows(longer, funnel.MAX_ROWS - 3, 3)
    assert ids.shape == (3, 23)
    assert labels.shape == (3, 3)


def test_blocks_and_seeds_differ(spec, data):
    ids, _ = data
    assert (ids[:BLOCK] != ids[BLOCK : 2 * BLOCK]).any(0).all()
    other = dataclasses.replace(spec, seed=4)
    assert (funnel.rows(other, 0, 1_000)[0] != ids[:1_000]).any(0).all()
    # Not only other rows: the same ids mean something else.
    assert np.abs(logits(other, ids[:1_000]) - logits(spec, ids[:1_000])).mean() > 0.5


def test_labels_are_nested(data):
    click, cart, order = data[1].T
    assert set(np.unique(data[1])) == {0, 1}
    assert (cart <= click).all()
    assert (order <= cart).all()
    assert 0 < order.sum() < cart.sum() < click.sum() < len(click)


def test_rates_match_the_probabilities(spec, data):
    ids, labels = data
    scores = known_answer.bayes_scores(spec, ids)
    space = {"all": np.ones(len(ids), bool), "click": labels[:, 0] == 1, "cart": labels[:, 1] == 1}
    for name in SPACES:
        task, where = name.split("@")
        p, y = scores[name][space[where]], labels[space[where], funnel.TASKS.index(task)]
        # By tenths of the score: labels of other rows would match overall, but not there.
        for part in np.array_split(np.argsort(p), 10):
            z = (y[part].sum() - p[part].sum()) / np.sqrt((p[part] * (1 - p[part])).sum())
            assert abs(z) < 4.5, (name, z)


@pytest.mark.parametrize("seed", range(2))
def test_rates_leave_enough_positives(seed):
    spec = funnel.FunnelSpec(rows=100_000, seed=seed)
    click, cart, order = funnel.rows(spec, 0, 40_000)[1].mean(0)
    assert 0.2 < click < 0.3
    assert 0.25 < cart / click < 0.35
    assert 0.25 < order / cart < 0.35


def test_ids_follow_the_bounded_zipf_law(spec, data):
    ids, _ = data
    assert ids.min() == 1
    for field, column in zip(funnel.FIELDS, ids.T, strict=True):
        size = spec.sizes[field]
        prob = funnel.id_probabilities(size, size)
        assert prob.sum() == pytest.approx(1, abs=1e-12)
        assert column.max() <= size
        expected = prob * len(column)
        got = np.bincount(column, minlength=size + 1)[1:]
        # Chi-square over the ids seen often, normalised to z.
        often = expected > 20
        chi = ((got - expected)[often] ** 2 / expected[often]).sum()
        assert abs(chi - often.sum()) < 5 * np.sqrt(2 * often.sum()), field
    assert prob[0] > 0.3  # the last field has three ids
    head = (ids[:, funnel.FIELDS.index("f205")] <= 46).mean()  # the first 1 % of its ids
    assert 0.6 < head < 0.85


@pytest.mark.parametrize("ids", [20_000, 20_001, funnel.MAX_IDS])
def test_sizes_use_up_the_ids(ids):
    sizes = funnel.FunnelSpec(ids=ids).sizes
    assert list(sizes) == list(funnel.FIELDS)
    assert 0.999 * ids < sum(sizes.values()) <= ids
    assert min(sizes.values()) >= 2
    assert all(sizes[f] <= n for f, n in funnel.ALI_CCP_IDS.items())


def test_logits_have_the_stated_mean_and_variance(spec, data):
    got = logits(spec, data[0])
    for column, stage in zip(got.T, funnel.STAGES.values(), strict=True):
        variance = sum(w**2 for w in stage.weights.values()) + sum(p[3] ** 2 for p in stage.pairs)
        assert column.mean() == pytest.approx(stage.bias, abs=0.02)
        assert column.var() == pytest.approx(variance, rel=0.04)


def test_importance_is_the_total_effect(spec, data):
    # Jansen's estimator: redraw one field, see how far the logit moves.
    ids = data[0][:40_000]
    base = logits(spec, ids)
    for index in range(23):
        changed = ids.copy()
        changed[:, index] = data[0][40_000:80_000, index]
        effect = ((logits(spec, changed) - base) ** 2).mean(0) / 2 / base.var(0)
        known = [share[index] for share in known_answer.importance(spec).values()]
        np.testing.assert_allclose(effect, known, rtol=0.1, atol=1e-3)
        assert ((effect == 0) == (np.array(known) == 0)).all()


def test_bayes_scores_are_products_of_the_stages(spec, data):
    ids = data[0][:100]
    click, cart, order = funnel.probabilities(spec, ids).T
    expected = [click, click * cart, cart, click * cart * order, cart * order, order]
    got = known_answer.bayes_scores(spec, ids)
    assert sorted(got) == sorted(SPACES)
    for name, value in zip(SPACES, expected, strict=True):
        np.testing.assert_allclose(got[name], value, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_expected_auc_is_that_of_all_pairs(weighted):
    rng = np.random.default_rng(5)
    score, prob, space = rng.integers(0, 6, 40) / 7, rng.random(40), rng.random(40)
    score[:3] = rng.random(3)
    pairs = won = 0.0
    for i in range(40):
        for j in range(40):
            mass = prob[i] * (1 - prob[j]) * (space[i] * space[j] if weighted else 1)
            pairs += mass
            won += mass * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    got = known_answer.expected_auc(score, prob, space if weighted else None)
    assert got == pytest.approx(won / pairs, rel=1e-12)


def auc_of_labels(score, label):
    """Mann-Whitney's; scores are distinct enough for ties not to matter."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    positives = label.sum()
    won = rank[label == 1].sum() - positives * (positives + 1) / 2
    return won / (positives * (len(label) - positives))


def test_truth(spec, data):
    known = json.loads(json.dumps(known_answer.truth(spec, sample=100_000)))
    assert known["spec"] == {"rows": 100_000, "ids": 20_000, "seed": 3}
    assert known["sizes"] == spec.sizes
    assert known["weights"]["click"]["f206"] == funnel.STAGES["click"].weights["f206"]
    assert known["pairs"]["order"][2] == ["f121", "f124", 1, 0.45]
    assert known["importance"]["cart"]["f508"] == max(known["importance"]["cart"].values())
    assert sorted(known["bayes_auc"]) == sorted(known["rates"]) == sorted(SPACES)
    # What is taken on clicks must be weighted by the probability of a click.
    rates = known["rates"]
    assert rates["cart@all"] == pytest.approx(rates["click@all"] * rates["cart@click"], rel=1e-9)
    assert rates["order@all"] == pytest.approx(rates["cart@all"] * rates["order@cart"], rel=1e-9)
    ids, labels = data
    scores = known_answer.bayes_scores(spec, ids)
    space = {"all": np.ones(len(ids), bool), "click": labels[:, 0] == 1, "cart": labels[:, 1] == 1}
    for name in SPACES:
        task, where = name.split("@")
        label = labels[space[where], funnel.TASKS.index(task)].astype(int)
        # 5 standard errors of an AUC near 0.85 (Hanley and McNeil), the sample's own included.
        near = 5 * np.sqrt(2 * 0.06 / min(label.sum(), (1 - label).sum()))
        got = auc_of_labels(scores[name][space[where]], label)
        assert known["bayes_auc"][name] == pytest.approx(got, abs=near)
        assert known["rates"][name] == pytest.approx(label.mean(), abs=0.02)
