"""Replicas are the runs that they would be alone."""

import re
import shutil

import chex
import jax
import numpy as np
import pytest
from small_runs import CutError, cut_after, last_state, logged, small

from dtn_jax.errors import UserError
from dtn_jax.run import replicas
from dtn_jax.run.replicas import parse_replicas, replica_config, train_replicas
from dtn_jax.run.run import build_run
from dtn_jax.run.step import TrainStep
from dtn_jax.run.train import train, training_data

REPLICAS = (
    "seed=0,5,7;optim.learning_rate=0.01,0.003,0.02;optim.weight_decay=0,0.1,0.01;"
    "optim.table_learning_rate=0.01,0.02,0.003;optim.table_l2=0,1e-4,1e-3;"
    "model.dropout=0.2,0,0.4;model.embedding_dropout=0,0.1,0.1;"
    "loss.task_weights=|income=2|never_married=0.5"
)


def config(prepared_dir, **changes):
    # Validations often and little patience: the replicas stop at different steps.
    return small(
        prepared_dir,
        replicas=REPLICAS,
        train__max_steps=20,
        train__eval_every=5,
        train__patience=1,
        optim__eps=1e-4,  # Adam's first steps would blow rounding up
        **changes,
    )


def alone(c, i):
    return replica_config(c, parse_replicas(c)[i])


@pytest.fixture(scope="module")
def each_alone(prepared_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    c = config(prepared_dir)
    results = [train(alone(c, i), root / f"replica_{i}") for i in range(3)]
    return root, results


def assert_the_same(c, root, results, expected_root, expected):
    for i in range(3):
        name = f"replica_{i}"
        for a, b in zip(logged(root / name), logged(expected_root / name), strict=True):
            assert list(a) == list(b)
            for key, value in b.items():
                if isinstance(value, str):
                    continue
                assert a[key] == pytest.approx(value, rel=1e-3, abs=1e-5), (i, a["step"], key)
        (state, progress), (state2, progress2) = (
            last_state(alone(c, i), r / name) for r in (root, expected_root)
        )
        assert progress["stopped"] == progress2["stopped"]
        chex.assert_trees_all_close(state, state2, rtol=1e-2, atol=2e-4)
        assert results[i]["steps"] == expected[i]["steps"]
        assert results[i]["best_steps"] == expected[i]["best_steps"]
        for key, found in expected[i]["test"].items():
            assert results[i]["test"][key]["auc"] == pytest.approx(found["auc"], abs=1e-4)


@pytest.mark.slow
def test_every_replica_is_the_run_done_alone(prepared_dir, tmp_path, each_alone):
    """They share what lies on the device; the next test has each stream its own order."""
    c = config(prepared_dir)
    results = train_replicas(c, tmp_path)
    assert len({r["steps"] for r in results}) > 1  # they stopped at different steps
    assert_the_same(c, tmp_path, results, *each_alone)


@pytest.mark.slow
def test_a_replica_with_a_balancer_is_the_run_done_alone(prepared_dir, tmp_path):
    """GradNorm keeps weights from step to step, and reads losses and gradients."""
    balanced = {"loss__balancing": "gradnorm", "loss__gradnorm__rate": 0.3, "optim__eps": 1e-4}
    c = small(prepared_dir, replicas="seed=0,5", train__max_steps=7, **balanced)
    train_replicas(c, tmp_path, test=False)
    for i in (0, 1):
        train(alone(c, i), tmp_path / f"alone_{i}", test=False)
        together, _ = last_state(alone(c, i), tmp_path / f"replica_{i}")
        state, _ = last_state(alone(c, i), tmp_path / f"alone_{i}")
        assert np.ptp(state.balancing["weights"]) > 0.05
        chex.assert_trees_all_close(together, state, rtol=1e-2, atol=2e-4)


def test_a_replica_reads_in_its_own_order_and_goes_on_alone(prepared_dir, tmp_path, monkeypatch):
    """By steps that learn nothing: their loss is the mean of a field's ids."""

    def make_step(*given):
        def advance(state, batch, routed):
            losses = batch.ids[:, :2].mean(axis=0)
            return state.replace(step=state.step + 1), {"losses": losses, "nonfinite": losses < 0}

        return TrainStep(lambda batch: {}, advance)

    monkeypatch.setattr(replicas, "make_train_step", make_step)
    c = small(prepared_dir, replicas="seed=0,5", train__max_steps=3)
    expected = []
    for i, seed in enumerate((0, 5)):
        chunk = training_data(build_run(alone(c, i))).chunk(seed, 0, 0, 3, c.data.batch_size)
        expected.append(np.mean(chunk.ids[:3, :, :2], axis=(0, 1)))
    for _ in range(2):
        train_replicas(c, tmp_path, test=False)
        for i in (0, 1):
            (record,) = [r for r in logged(tmp_path / f"replica_{i}") if r["kind"] == "train"]
            losses = [record["loss/income"], record["loss/never_married"]]
            np.testing.assert_allclose(losses, expected[i], rtol=1e-6)
        shutil.rmtree(tmp_path / "replica_1")


@pytest.mark.nightly
def test_replicas_cut_between_two_saves_go_on(prepared_dir, tmp_path, each_alone, monkeypatch):
    """One replica has a checkpoint that the next one lacks."""
    c = config(prepared_dir, data__placement="stream")
    for saves in (1, 5):  # the first one while the others have none
        with monkeypatch.context() as patch, pytest.raises(CutError):
            cut_after(patch, saves)
            train_replicas(c, tmp_path)
    assert_the_same(c, tmp_path, train_replicas(c, tmp_path), *each_alone)


@pytest.mark.slow
def test_a_finished_set_reads_test_when_asked_and_says_what_it_found(
    prepared_dir, tmp_path, capsys, monkeypatch
):
    asked = []  # why they ended
    monkeypatch.setattr(replicas, "tell_of_end", lambda found, run: asked.append(found))
    c = small(prepared_dir, replicas="2", train__max_steps=3)
    assert all("test" not in r for r in train_replicas(c, tmp_path, test=False))
    results = train_replicas(c, tmp_path)
    capsys.readouterr()
    assert train_replicas(c, tmp_path) == results
    assert asked[-1] == results
    shown = capsys.readouterr().out
    aucs = [own["test"]["income@all"]["auc"] for own in results]
    assert f"{aucs[1]:.4f}" in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()}
    assert rows["mean"][0] == f"{sum(aucs) / 2:.4f}"
    assert rows["s.d."][0] == f"{abs(aucs[0] - aucs[1]) / 2**0.5:.4f}"
    assert [r["seed"] for r in results] == [0, 1]
    assert not (tmp_path / "replica_2").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "got '0'"),
        ("many", "expected 1 to 1,000 seeds or OPTION=VALUE,VALUE, got 'many'"),
        ("optim.b1=0.8,0.9", "option in replicas 'optim.b1'"),
        ("seed=1,2;model.dropout=0.1", re.escape("{'seed': 2, 'model.dropout': 1}")),
        ("seed=1,x", "expects a whole number at least 0 and below .*, got 'x'"),
    ],
)
def test_what_replicas_can_be(prepared_dir, tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        train_replicas(small(prepared_dir, replicas=text), tmp_path)


@pytest.mark.slow
def test_a_replica_that_diverges_is_named(prepared_dir, tmp_path):
    c = small(prepared_dir, replicas="optim.learning_rate=1e-3,1e30", model__normalisation="none")
    message = r"replica_1: not finite at step \d+: the loss of income(.*\n)+.*other 1 repl"
    with pytest.raises(UserError, match=message):
        train_replicas(c, tmp_path)
    assert (tmp_path / "replica_0/results.json").exists()
    assert list((tmp_path / "replica_1/nonfinite").iterdir())


def test_replicas_take_no_folder_of_a_single_run(prepared_dir, tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match="holds a single run; name another folder"):
        train_replicas(small(prepared_dir, replicas="2"), tmp_path)
    assert not list(tmp_path.glob("replica_*"))


def test_train_refuses_replicas(prepared_dir, tmp_path):
    with pytest.raises(UserError, match="train_replicas"):
        train(small(prepared_dir, replicas="2"), tmp_path / "run")
    assert jax.device_count() > 1  # replicas lie on one device all the same
