"""Synthetic's options that turn its law: what they make, and what they refuse."""

import numpy as np
import pytest

from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.synthetic import funnel, known_answer
from dtn_jax.datasets.synthetic.builder import Synthetic
from dtn_jax.datasets.synthetic.funnel import FunnelSpec
from dtn_jax.errors import UserError

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
    assert Synthetic(divergence=0).variant() == "rows1000000_ids20000_seed0_divergence0.0"


def test_sets_of_the_default_law_keep_their_folder(tmp_path):
    texts = ("", "divergence=1", "sparsity=0", "divergence=1.0,sparsity=0.0")
    folders = {catalog.make_builder("synthetic", t, str(tmp_path), "").data_dir for t in texts}
    assert folders == {f"{tmp_path}/synthetic/rows1000000_ids20000_seed0/1.0.0"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("divergence=1.5", "data.options divergence=1.5: expected a number at least 0 and at most"),
        ("divergence=-1", "data.options divergence=-1.0: expected a number at least 0"),
        ("divergence=nan", "data.options divergence=nan: expected a number at least 0"),
        ("divergence=all", "data.options divergence expects a number at least 0 .*, got 'all'"),
        ("interactions=2", "data.options interactions=2.0: expected a number at least 0 and at mo"),
        ("interactions=no", "data.options interactions expects a number at least 0 .*, got 'no'"),
        ("sparsity=6", "data.options sparsity=6.0: expected a number at least 0 and at most 5"),
    ],
)
def test_dials_out_of_range_are_the_users_error(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        catalog.load("synthetic", options, data_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"divergence": 1.01}, "divergence is 1.01, expected a number from 0 to 1"),
        ({"divergence": ""}, "divergence is '', expected a number from 0 to 1"),
        ({"interactions": "0.5"}, "interactions is '0.5', expected a number from 0 to 1"),
        ({"interactions": True}, "interactions is True, expected a number"),
        ({"sparsity": float("nan")}, "sparsity is nan, expected a number from 0 to 5"),
    ],
)
def test_a_spec_out_of_range_is_the_users_error(change, message):
    with pytest.raises(UserError, match=message):
        FunnelSpec(**change)
