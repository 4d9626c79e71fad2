"""A data set with vector fields: prepared, trained, cut and resumed, explained."""

import json

import numpy as np
import pytest
from films import SOUND, Films, K, frame
from small_runs import CutError, assert_same_run, cut_after, small

from dtn_jax.datasets.preparation import catalog
from dtn_jax.input.reader import SplitReader
from dtn_jax.schema import Field
from dtn_jax.train import train
from experiments import feature_importance, prepare


def films(prepared_dir, **changes):
    changes = {
        "data__dataset": "films",
        "train__max_steps": 20,
        "train__eval_every": 10,
        "train__checkpoint_every": 6,
        "optim__learning_rate": 0.03,
        "loss__task_weights": "",
    } | changes
    return small(prepared_dir, **changes)


@pytest.fixture(scope="module", autouse=True)
def known():
    """The data set has a name, as a plug-in's has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.DATASETS, "films", Films)
        yield


@pytest.fixture(scope="module")
def trained(known, prepared_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("films") / "run"
    return workdir, train(films(prepared_dir), workdir)


def test_prepared_numbers_are_those_of_the_frames(trained, prepared_dir, capsys):
    prepare.main(["--dataset=films", f"--data_dir={prepared_dir}"])
    shown = capsys.readouterr().out
    assert f"vector of {K}" in shown
    assert "vector of 2" in shown
    data = catalog.load("films", data_dir=prepared_dir)
    fields = {f.name: f for f in data.schema.fields}
    assert fields["content"] == Field("content", "vector", rows=2, length=K)
    assert data.schema.numbers == 1 + K + 2
    x = np.array(frame(0, 5000)["content"].drop_nulls().to_list())
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    for seed, split in enumerate(("train", "validation", "test")):
        raw = frame(seed, data.rows[split])
        got = SplitReader(data, split).everything()
        known = raw["content"].is_not_null().to_numpy()
        np.testing.assert_array_equal(got.ids[:, 1], known)
        x = np.array([v or [0.0] * K for v in raw["content"].to_list()])
        expected = np.where(known[:, None], (x - mean) / deviation, 0)
        np.testing.assert_allclose(got.numeric[:, 1 : 1 + K], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(got.numeric[:, 1 + K :], raw[SOUND].to_numpy())
        assert data.unknown_values[split]["content"] == (~known).sum()
    # ids, numbers, labels, sample weight and group; the masks of labels and row.
    assert data.row_bytes() == 4 * (4 + 9 + 2 + 2) + 2 + 1


def test_a_run_learns_from_vectors(trained):
    """The other fields say nothing."""
    assert trained[1]["test"]["click@all"]["auc"] > 0.8


def test_dense_parameters_and_flops_count_the_projections(trained):
    results = trained[1]
    hidden = 4 * 4 * 8 + 8 + 8 * 8 + 8 + 2 * (8 * 8 + 8 + 8 + 1)  # the expert and two towers
    batch_norm = 2 * 4 * 4
    assert results["parameters"] == hidden + batch_norm + (K + 2) * 4
    products = 4 * 4 * 8 + 8 * 8 + 2 * (8 * 8 + 8) + (K + 2) * 4
    assert results["flops_per_example"] == 2 * products


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["device", "stream"])
def test_a_run_that_is_cut_resumes_bit_by_bit(
    trained, prepared_dir, tmp_path, monkeypatch, placement
):
    config = films(prepared_dir, data__placement=placement)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 2)
        train(config, tmp_path / "run")
    assert train(config, tmp_path / "run")["steps"] == 20
    assert_same_run(config, trained[0], tmp_path / "run")


def test_importance_of_a_finished_run(trained):
    feature_importance.main([f"--workdir={trained[0]}", "--repeats=2", "--rows=1000"])
    facts = json.loads((trained[0] / "importance" / "importance.json").read_text())
    for method in facts["methods"].values():
        by_field = {f: v["mean"] for f, v in method["importance"]["click@all"].items()}
        assert max(by_field, key=by_field.get) == "content"
