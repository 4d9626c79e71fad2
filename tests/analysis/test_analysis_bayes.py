"""The Bayes-optimal score of synthetic, whose importances are known."""

import dataclasses

import numpy as np
import pytest
from given_importance import given

from dtn_jax.analysis import bayes, quality, rank
from dtn_jax.datasets.synthetic import funnel, known_answer, law
from dtn_jax.interface import Batch
from dtn_jax.metrics.auc import auc
from dtn_jax.schema import Field, Schema, Task


@pytest.fixture(scope="module")
def truth():
    """12,000 rows, their keys, and the Bayes-optimal score's importance."""
    spec = funnel.FunnelSpec(rows=12_000)
    ids, labels = funnel.rows(spec, 0, 12_000)
    tasks = (
        Task("click"),
        Task("cart", also_report=("click",), upstream=("click",)),
        Task("order", also_report=("cart", "click"), upstream=("cart",)),
    )
    schema = Schema("synthetic", [Field(f) for f in funnel.FIELDS], tasks)
    batch = Batch(
        ids=ids,
        weights=np.zeros((12_000, 0), np.float32),
        numeric=np.zeros((12_000, 0), np.float32),
        labels=labels.astype(np.float32),
        label_mask=np.ones(labels.shape, bool),
        sample_weight=np.ones(12_000, np.float32),
        row_mask=np.ones(12_000, bool),
    )
    keys, _ = quality.keys(schema, batch, weighted=False)
    return spec, ids, keys, bayes.bayes_importance(spec, ids, keys, 2, 0)


def test_the_bayes_optimal_score_uses_the_fields_of_its_stages_alone(truth):
    spec, ids, keys, found = truth
    assert found.keys == tuple(f"{t}@{s}" for t, s in [
        ("click", "all"), ("cart", "all"), ("cart", "click"),
        ("order", "all"), ("order", "cart"), ("order", "click"),
    ])  # fmt: skip
    stages = {"click@all": ["click"], "cart@click": ["cart"], "order@click": ["cart", "order"]}
    for key, used in stages.items():
        fields = set()
        for stage in used:
            fields |= set(law.STAGES[stage].weights)
            fields |= {f for pair in law.STAGES[stage].pairs for f in pair[:2]}
        k = found.keys.index(key)
        for f, field in enumerate(funnel.FIELDS):
            assert (found.values[:, f, k] == 0).all() == (field not in fields), (key, field)
    assert found.base[0] == pytest.approx(
        auc(known_answer.bayes_scores(spec, ids)["click@all"], keys[0].labels), rel=1e-12
    )


def test_importance_of_the_bayes_score_agrees_with_the_known_shares_of_variance(truth):
    spec, _, _, found = truth
    shares = known_answer.importance(spec)
    for key, stage in {"click@all": "click", "cart@click": "cart"}.items():
        k = found.keys.index(key)
        over = found.above_noise[:, k]
        assert rank.spearman(found.mean[over, k], shares[stage][over]) > 0.9


def test_agreement_is_over_the_fields_above_the_truths_noise(truth):
    spec, ids, keys, found = truth
    again = bayes.bayes_importance(spec, ids, keys, 2, 1)
    agreed = bayes.agreement(again, found)
    for k, key in enumerate(found.keys):
        assert agreed[key]["fields"] == found.above_noise[:, k].sum()
        assert agreed[key]["rank_correlation"] > 0.9
    k = found.keys.index("click@all")
    below = ~found.above_noise[:, k]
    turned = again.values.copy()
    turned[:, below, k] = np.linspace(5, 9, below.sum())  # fields that do not count
    moved = dataclasses.replace(again, values=turned)
    assert bayes.agreement(moved, found)["click@all"] == agreed["click@all"]
    turned[:, :, k] *= -1
    assert bayes.agreement(moved, found)["click@all"]["rank_correlation"] < -0.9
    few = given(np.zeros((23, 6)), 1)
    few.__dict__.update(fields=found.fields, keys=found.keys)
    assert bayes.agreement(again, few)["click@all"] == {"rank_correlation": None, "fields": 0}
