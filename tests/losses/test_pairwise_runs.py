"""A run with the term of pairs: it trains, however its rows are read, and says what is wrong."""

import dataclasses
import pathlib
import re

import chex
import jax
import numpy as np
import pytest
from dated_runs import dated
from poisoned_rows import poison
from small_runs import last_state, logged, small

from dtn_jax.analysis import stopped
from dtn_jax.config import plugins
from dtn_jax.errors import UserError
from dtn_jax.replicas import train_replicas
from dtn_jax.run import build_run
from dtn_jax.train import train, training_data
from experiments import replay

PLUGIN = pathlib.Path(__file__).parents[1] / "plugin.py"
GIVEN = {
    "loss__pairwise": "click=2",
    "data__order": "shuffled",
    "data__batch_size": 128,
    "train__evaluate_first": False,
    "train__epochs": 12,
    "train__log_every": 1,
    "train__eval_every": 60,
    "train__checkpoint_every": 60,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("dated")


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The workdir of a run, and its results."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, train(dated(root, **GIVEN), workdir)


def losses(workdir):
    return np.array([r["loss/click"] for r in logged(workdir) if r["kind"] == "train"])


def test_a_run_learns_the_order_within_groups(whole):
    workdir, results = whole
    found = losses(workdir)
    assert found[-5:].mean() < 0.9 * found[:5].mean()
    assert results["validation"]["click@all"]["gauc"] > 0.6


def test_a_streamed_run_is_the_resident_one(whole, root, tmp_path):
    streamed = dated(root, **GIVEN, data__placement="stream")
    train(streamed, tmp_path / "run", test=False)
    np.testing.assert_array_equal(losses(tmp_path / "run"), losses(whole[0]))
    states = [last_state(streamed, workdir)[0] for workdir in (whole[0], tmp_path / "run")]
    chex.assert_trees_all_equal(*states)


@pytest.mark.slow
def test_replicas_are_the_runs_that_they_would_be_alone(whole, root, tmp_path):
    train_replicas(dated(root, **GIVEN, replicas="2"), tmp_path, test=False)
    np.testing.assert_allclose(losses(tmp_path / "replica_0"), losses(whole[0]), rtol=1e-4)


@pytest.mark.slow  # each operation by itself
def test_a_step_that_is_not_finite_replays_with_its_groups(root, tmp_path, monkeypatch, capsys):
    poison(monkeypatch, 3)
    config = dated(root, **GIVEN)
    with pytest.raises(UserError, match="not finite at step 3: the loss of click"):
        train(config, tmp_path / "run")
    path = tmp_path / "run/nonfinite/step-3.npz"
    kept = stopped.read(path)
    assert kept.batch.group.shape == (128, 2)
    monkeypatch.undo()
    capsys.readouterr()
    replay.main([f"--batch={path}"])
    assert "The first that is not finite: batch labels" in capsys.readouterr().out
    stopped.write(path, dataclasses.replace(kept, batch=kept.batch.replace(group=None)))
    with pytest.raises(UserError, match=re.escape("group is absent, expected int32[128, 2]")):
        replay.main([f"--batch={path}"])


def test_batches_have_groups_and_need_their_bytes_where_there_is_the_term(root, unload):
    run, plain = (build_run(dated(root, **GIVEN | {"loss__pairwise": w})) for w in ("click=1", ""))
    assert (run.grouped, plain.grouped) == (True, False)
    own, other = (jax.tree.leaves(training_data(r).batch) for r in (run, plain))
    assert len(own) == len(other) + 1
    more = sum(a.nbytes for a in own) - sum(a.nbytes for a in other)
    planned = run.data.row_bytes(run.grouped) - plain.data.row_bytes(plain.grouped)
    assert planned == more / run.data.rows["train"] == 8
    config = dated(root, **GIVEN)
    plugins.use(config, str(PLUGIN))
    build_run(config).check_model()  # steps on an example, since a loss may be the plug-in's


def test_a_run_that_cannot_have_the_term_is_refused(root, prepared_dir):
    with pytest.raises(UserError, match="'adult' has none: name a column"):
        build_run(small(prepared_dir, loss__pairwise="income=1"))
    with pytest.raises(UserError, match=r"does not go with train.accumulate=2"):
        build_run(dated(root, **GIVEN, train__accumulate=2))
    with pytest.raises(UserError, match=r"loss.pairwise 'clik'. Did you mean 'click'"):
        build_run(dated(root, **GIVEN | {"loss__pairwise": "clik=1"}))
