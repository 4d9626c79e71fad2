"""A run that starts from another one's last state: two runs are one that goes on."""

import json
import shutil

import chex
import jax
import numpy as np
import pytest
from damaged_bytes import flip, large_file
from small_runs import CutError, assert_same_run, cut_after, last_state, logged, small

from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.errors import UserError
from dtn_jax.export.write import model as exported
from dtn_jax.run.replicas import train_replicas
from dtn_jax.run.train import train

FIRST = 30  # steps of the run that others start from


@pytest.fixture
def later(monkeypatch):
    """The rows that follow those of the first run."""
    chunk = ResidentData.chunk

    def moved(self, seed, epoch, position, *given):
        return chunk(self, seed, epoch, position + FIRST, *given)

    monkeypatch.setattr(ResidentData, "chunk", moved)


@pytest.fixture(scope="module")
def first(prepared_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("first") / "run"
    train(small(prepared_dir, train__max_steps=FIRST), workdir, test=False)
    return workdir


def second(prepared_dir, first, **changes):
    """15 steps more."""
    given = {"train__max_steps": 15, "train__start_from": str(first)}
    return small(prepared_dir, **given | changes)


def test_two_runs_are_one_that_goes_on(prepared_dir, first, uncut, later, tmp_path):
    """Up to rounding, since programs differ."""
    config = second(prepared_dir, first)
    results = train(config, tmp_path / "second", test=False)
    state, _ = last_state(config, tmp_path / "second")
    expected, _ = last_state(small(prepared_dir), uncut[0])
    assert int(state.step) == 45
    chex.assert_trees_all_close(state, expected, rtol=1e-4, atol=1e-6)
    facts = json.loads((first / "config.json").read_text())
    begun = {"workdir": str(first), "step": FIRST, "fingerprint": facts["data"]}
    assert results["started_from"] == begun
    assert json.loads((tmp_path / "second" / "config.json").read_text())["started_from"] == begun
    assert results["steps"] == 15
    assert results["best_steps"]["mean"] <= 15
    last = [r for r in logged(uncut[0]) if r["kind"] == "validation"][-1]
    own = [r for r in logged(tmp_path / "second") if r["kind"] == "validation"]
    assert [r["step"] for r in own] == [15]  # of its own beginning
    assert own[0]["mean"] == pytest.approx(last["mean"], abs=1e-5)


@pytest.mark.slow
def test_it_resumes_bit_for_bit_when_the_other_run_is_gone(
    prepared_dir, first, tmp_path, monkeypatch
):
    other = shutil.copytree(first, tmp_path / "first")
    config = second(prepared_dir, other, train__max_steps=30)
    train(config, tmp_path / "whole", test=False)
    with monkeypatch.context() as patch:
        cut_after(patch, saves=1)  # that of step 0
        with pytest.raises(CutError):
            train(config, tmp_path / "cut", test=False)
    assert [p.name for p in (tmp_path / "cut/checkpoints/last").iterdir()] == ["0"]
    shutil.rmtree(other)
    with monkeypatch.context() as patch:
        cut_after(patch, saves=2)
        with pytest.raises(CutError):
            train(config, tmp_path / "cut", test=False)
    train(config, tmp_path / "cut", test=False)
    assert_same_run(config, tmp_path / "whole", tmp_path / "cut")
    train(config, tmp_path / "cut", test=False)  # its results again


def start_of(config, workdir, monkeypatch):
    """The state at step 0 of a run."""
    with monkeypatch.context() as patch:
        cut_after(patch, saves=1)
        with pytest.raises(CutError):
            train(config, workdir, test=False)
    return last_state(config, workdir)[0]


def test_optimizer_states_are_taken_over(prepared_dir, first, tmp_path, monkeypatch):
    old = last_state(small(prepared_dir), first)[0]
    changes = {"optim__learning_rate": 0.5, "model__dropout": 0.4, "data__batch_size": 128}
    config = second(prepared_dir, first, **changes)
    state = start_of(config, tmp_path / "second", monkeypatch)
    for part in ("params", "model_state", "tables", "opt_state", "slots"):
        chex.assert_trees_all_equal(getattr(state, part), getattr(old, part))
        assert any(np.asarray(a).any() for a in jax.tree.leaves(getattr(old, part)))
    assert float(state.hyper.learning_rate) == 0.5
    assert float(state.hyper.dropout) == np.float32(0.4)


@pytest.mark.slow
def test_what_a_balancer_knows_is_taken_over_and_resumed(prepared_dir, tmp_path, monkeypatch):
    """Where it reads losses, it is what no optimizer has learned."""
    changes = {"loss__balancing": "stch", "loss__stch__warmup": 20}
    changes |= {"train__accumulate": 2, "model__normalisation": "layer"}
    old = small(prepared_dir, **changes, train__max_steps=FIRST)
    train(old, tmp_path / "whole", test=False)
    known = last_state(old, tmp_path / "whole")[0].balancing
    assert (known["losses"] > 0).all()
    assert int(known["steps"]) == FIRST
    with monkeypatch.context() as patch:
        cut_after(patch, saves=2)
        with pytest.raises(CutError):
            train(old, tmp_path / "cut", test=False)
    train(old, tmp_path / "cut", test=False)
    assert_same_run(old, tmp_path / "whole", tmp_path / "cut")
    config = second(prepared_dir, tmp_path / "cut", **changes)
    state = start_of(config, tmp_path / "second", monkeypatch)
    chex.assert_trees_all_equal(state.balancing, known)


@pytest.mark.nightly
def test_a_schedule_begins_with_the_run(prepared_dir, first, tmp_path, monkeypatch):
    """Warm-up: its first step moves by a thousandth of the rate."""
    changes = {"optim__warmup_steps": 1000, "train__max_steps": 1, "model__normalisation": "layer"}
    old = tmp_path / "old"
    train(small(prepared_dir, **changes | {"train__max_steps": 40}), old, test=False)
    config = second(prepared_dir, old, **changes)
    before = start_of(config, tmp_path / "second", monkeypatch).params
    train(config, tmp_path / "second", test=False)
    after = last_state(config, tmp_path / "second")[0].params
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after)
    most = max(jax.tree.leaves(moved))
    assert 0 < most <= 10 * 0.01 / 1000  # at step 40 of a warm-up: 40 times as much


def changed(path, edit):
    facts = json.loads(path.read_text())
    edit(facts)
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda p: p.joinpath("results.json").unlink(), "holds no finished run"),
        (lambda p: p.joinpath("config.json").write_text("{"), "config.json is missing or damaged"),
        (
            lambda p: changed(p / "config.json", lambda f: f.update(data="f" * 64)),
            r"trained on another data set, fingerprint ffffffffffff; expected .* extends: none",
        ),
        (
            lambda p: flip(large_file(p / "checkpoints/last/30"), 7),
            r"last/30 is damaged: .* from a copy",
        ),
    ],
)
def test_a_run_that_cannot_be_started_from_is_told(prepared_dir, first, tmp_path, damage, told):
    other = shutil.copytree(first, tmp_path / "others" / "run")
    damage(other)
    with pytest.raises(UserError, match=told):
        train(second(prepared_dir, other), tmp_path / "second", test=False)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model__expert_dim": 9}, r"model.expert_dim: 8 there, 9 now"),
        ({"model__architecture": "mmoe"}, r"model.architecture: 'shared_bottom' there, 'mmoe' now"),
        ({"optim__table_dtype": "bfloat16"}, r"optim.table_dtype: 'float32' there"),
        ({"optim__tables": "sgd"}, r"optim.tables: 'adam' there"),
    ],
)
def test_options_that_must_agree_are_named(prepared_dir, first, tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        train(second(prepared_dir, first, **changes), tmp_path / "second", test=False)
    assert not (tmp_path / "second").exists()


def test_a_run_cannot_start_from_itself_nor_replicas_from_a_run(prepared_dir, first, tmp_path):
    own = tmp_path / "own"
    with pytest.raises(UserError, match="is this run's own workdir; name another one"):
        train(second(prepared_dir, own), own, test=False)
    config = second(prepared_dir, first, replicas="2")
    with pytest.raises(UserError, match=r"train\.start_from does not go with replicas"):
        train_replicas(config, own, test=False)


def test_a_run_that_was_trained_again_meanwhile_is_told(prepared_dir, first, tmp_path, monkeypatch):
    other = shutil.copytree(first, tmp_path / "first")
    config, workdir = second(prepared_dir, other), tmp_path / "second"
    start_of(config, workdir, monkeypatch)
    shutil.rmtree(workdir / "checkpoints")
    changed(workdir / "config.json", lambda facts: facts["started_from"].update(step=29))
    with pytest.raises(UserError, match="is another run than when this one began"):
        train(config, workdir, test=False)


def test_an_ensemble_s_runs_may_start_from_different_runs(first, tmp_path):
    other = shutil.copytree(first, tmp_path / "other")
    own = {"seed": 1, "train": {"start_from": "runs/1"}}

    def edit(facts):
        facts["config"]["seed"] = own["seed"]
        facts["config"]["train"] |= own["train"]

    changed(other / "config.json", edit)
    assert exported.build([first, other]).first == 0
