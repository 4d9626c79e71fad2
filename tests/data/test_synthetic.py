"""The synthetic data set: the funnel's rows, streamed into splits, with the truth beside them."""

import functools

import numpy as np
import pytest
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


def test_rows_are_the_funnels_in_order(data, splits):
    assert data.rows == {"train": 16_000, "validation": 2_000, "test": 2_000}
    assert data.layout == Layout(lanes=4, block_rows=128)
    ids, labels = funnel.rows(SPEC, 0, 20_000)
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
