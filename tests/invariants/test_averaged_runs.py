"""A run with `train.average`: what is measured, selected, resumed, handed on and exported."""

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from small_runs import CutError, assert_same_run, cut_after, last_state, logged, small

from dtn_jax.analysis.finished import best_state
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.write import export_run
from dtn_jax.run import start_from
from dtn_jax.run.run import build_run, measure, score_split
from dtn_jax.run.train import train

AVERAGE = {"train__average": 0.9}


@pytest.fixture(scope="module")
def averaged(prepared_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("averaged") / "run"
    return workdir, train(small(prepared_dir, **AVERAGE), workdir)


def differ(one, other):
    return any(np.any(a != b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)))


def test_it_trains_as_without_and_is_measured_by_the_average(averaged, uncut, prepared_dir):
    (workdir, results), config = averaged, small(prepared_dir, **AVERAGE)
    run, (state, _) = build_run(config), last_state(config, workdir)
    plain, _ = last_state(small(prepared_dir), uncut[0])
    trained = (state.iterate["params"], state.tables), (plain.params, plain.tables)
    chex.assert_trees_all_close(*trained, rtol=1e-4, atol=1e-6)  # programs differ
    state = state.replace(key=jax.random.key(0))
    (record,) = [r for r in logged(workdir) if (r["kind"], r["step"]) == ("validation", 45)]
    for params, same in ((state.params, True), (state.iterate["params"], False)):
        found = measure(run, score_split(run, state.replace(params=params), "validation"))
        loss = found["income@all"]["logloss"]
        assert (loss == pytest.approx(record["income@all/logloss"], abs=1e-7)) == same
    assert results["best_steps"]["mean"] == 45


def test_the_best_state_and_the_exported_model_are_the_average(averaged, prepared_dir, tmp_path):
    (workdir, _), config = averaged, small(prepared_dir, **AVERAGE)
    state, _ = last_state(config, workdir)
    best, step = best_state(build_run(config), workdir)
    assert (step, best.iterate) == (45, {})
    jax.tree.map(np.testing.assert_array_equal, best.params, state.params)
    model = export_run([workdir], tmp_path / "model", say=lambda told: None)
    weights = load_file(model / model_folder.WEIGHTS)
    for path, value in jax.tree_util.tree_leaves_with_path(state.params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        np.testing.assert_array_equal(weights[f"params/{name}"], value)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_it_resumes_bit_for_bit(averaged, prepared_dir, tmp_path, monkeypatch, devices):
    config, uncut = small(prepared_dir, parallel__devices=devices, **AVERAGE), averaged[0]
    if devices > 1:
        uncut = tmp_path / "uncut"
        train(config, uncut, test=False)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 3)
        train(config, tmp_path / "run", test=False)
    train(config, tmp_path / "run", test=False)
    assert_same_run(config, uncut, tmp_path / "run")


def test_a_run_that_starts_from_another_goes_on_with_its_average(averaged, uncut, prepared_dir):
    old, _ = last_state(small(prepared_dir, **AVERAGE), averaged[0])
    config = small(prepared_dir, **AVERAGE, train__start_from=str(averaged[0]))
    state = start_from.first_state(start_from.started(build_run(config), "elsewhere"))
    jax.tree.map(np.testing.assert_array_equal, state.params, old.params)
    jax.tree.map(np.testing.assert_array_equal, state.iterate, old.iterate)
    assert differ(old.params, old.to_train().params)
    config.train.start_from = str(uncut[0])
    with pytest.raises(UserError, match="has another model or other tables"):
        start_from.started(build_run(config), "elsewhere")
