"""The synthetic funnel's known answer: its effects, importances and best AUCs."""

import dataclasses
import itertools
import json

import funnel_rows
import numpy as np
import pytest
from funnel_rows import SPACES, logits

from dtn_jax.datasets.synthetic import funnel, known_answer, law

spec = funnel_rows.spec
data = funnel_rows.data


def test_logits_have_the_stated_mean_and_variance(spec, data):
    got = logits(spec, data[0])
    for column, stage in zip(got.T, law.STAGES.values(), strict=True):
        variance = sum(w**2 for w in stage.weights.values()) + sum(p[3] ** 2 for p in stage.pairs)
        assert column.mean() == pytest.approx(stage.bias, abs=0.02)
        assert column.var() == pytest.approx(variance, rel=0.04)


def test_pairs_add_nothing_that_one_field_explains(spec):
    # The mean over a pair's other field, by the law of its ids, is 0 for every id.
    for terms in funnel._terms(spec).values():
        for term in terms:
            for field, table in term:
                size = spec.sizes[funnel.FIELDS[field]]
                shown = table[:, 1 : size + 1][:, : funnel.HEAD_IDS]
                prob = funnel.id_probabilities(size, shown.shape[1])
                np.testing.assert_allclose(shown @ prob, 0, atol=1e-12)


def test_every_effect_is_drawn_for_itself(spec):
    terms = [term for task in funnel.TASKS for term in funnel._terms(spec)[task]]
    rows = [row[1:129] for term in terms for _, table in term for row in table if len(row) > 128]
    assert len(rows) > 20
    between = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    assert np.abs(between).max() < 0.5


def test_only_frequent_ids_have_an_effect(spec, data):
    ids = data[0][:1_000].copy()
    column = funnel.FIELDS.index("f205")
    shown = {}
    for value in (0, 1, funnel.HEAD_IDS, funnel.HEAD_IDS + 1, spec.sizes["f205"]):
        ids[:, column] = value
        shown[value] = logits(spec, ids)
    unknown = shown.pop(0)
    for value, got in shown.items():
        moved = np.abs(got - unknown).max(0) > 1e-9
        assert moved.tolist() == [value <= funnel.HEAD_IDS, False, False]
    ids[:] = 0
    biases = [stage.bias for stage in law.STAGES.values()]
    np.testing.assert_allclose(logits(spec, ids), np.tile(biases, (1_000, 1)), rtol=1e-12)


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


def test_importance_diverges_between_tasks(spec):
    shares = known_answer.importance(spec)
    for one, other in itertools.combinations(funnel.TASKS, 2):
        # Spearman: Pearson of ranks, ties (fields without effect) sharing their mean rank.
        ranks = [
            (np.sort(s).searchsorted(s, "left") + np.sort(s).searchsorted(s, "right")) / 2
            for s in (shares[one], shares[other])
        ]
        assert np.corrcoef(ranks)[0, 1] < 0.2, (one, other)
        assert np.argmax(shares[one]) != np.argmax(shares[other])
    for share in shares.values():
        assert (share == 0).sum() >= 10
    assert (sum(shares.values()) > 0).all()  # no field is useless for all


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


def test_expected_auc_at_its_ends():
    label = np.array([0.0, 0, 1, 1])
    assert known_answer.expected_auc(np.array([1, 2, 3, 4]), label) == 1
    assert known_answer.expected_auc(np.array([4, 3, 2, 1]), label) == 0
    assert known_answer.expected_auc(np.zeros(4), label) == 0.5


def auc_of_labels(score, label):
    """Mann-Whitney's; scores are distinct enough for ties not to matter."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    positives = label.sum()
    won = rank[label == 1].sum() - positives * (positives + 1) / 2
    return won / (positives * (len(label) - positives))


def test_truth(spec, data):
    known = json.loads(json.dumps(known_answer.truth(spec, sample=200_000)))
    assert known["spec"] == {"rows": 200_000, "ids": 20_000, "seed": 3}
    assert known["sizes"] == spec.sizes
    assert known["weights"]["click"]["f206"] == law.STAGES["click"].weights["f206"]
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


def test_a_perturbed_score_is_worse(spec, data):
    ids = data[0][:50_000]
    scores = known_answer.bayes_scores(spec, ids)
    rng = np.random.default_rng(0)
    for name, best in scores.items():
        where = name.split("@")[1]
        space = None if where == "all" else scores[f"{where}@all"]
        top = known_answer.expected_auc(best, best, space)
        for noise in (0.1, 0.5):
            worse = np.log(best / (1 - best)) + noise * rng.standard_normal(len(best))
            assert known_answer.expected_auc(worse, best, space) < top
    # The score of one space is not the best of another.
    click = known_answer.expected_auc(scores["cart@all"], scores["cart@click"], scores["click@all"])
    best = known_answer.expected_auc(
        scores["cart@click"], scores["cart@click"], scores["click@all"]
    )
    assert click < best - 0.01


def test_main_effects_alone_fall_short(spec, data, monkeypatch):
    ids = data[0][:50_000]
    best = known_answer.bayes_scores(spec, ids)
    with monkeypatch.context() as patch:
        for task, stage in law.STAGES.items():
            patch.setitem(law.STAGES, task, dataclasses.replace(stage, pairs=()))
        funnel._terms.cache_clear()
        mains = known_answer.bayes_scores(spec, ids)
    funnel._terms.cache_clear()
    for name, prob in best.items():
        where = name.split("@")[1]
        space = None if where == "all" else best[f"{where}@all"]
        reached, top = (
            known_answer.expected_auc(s[name], prob, space) - 0.5 for s in (mains, best)
        )
        assert 0.7 < reached / top < 0.9, name
