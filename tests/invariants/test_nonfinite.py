"""A step whose loss or gradient is not finite: the run ends there, or goes on without it."""

import dataclasses
import functools
import json
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import FrozenConfigDict
from small_runs import CutError, assert_same_run, cut_after, logged, poison, small
from toy_steps import STEPS, batches, build, config

from dtn_jax.cli import replay
from dtn_jax.errors import UserError
from dtn_jax.losses import cross_entropy, finite
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.losses.log_normal import LogNormal
from dtn_jax.run import nonfinite, step
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.train import train

BAD = 2  # of the steps of a chunk, from 0


def poisoned_batches():
    chunk = batches()
    return chunk.replace(labels=chunk.labels.at[BAD, 3, 0].set(jnp.nan))


@functools.cache
def program(c, stops):
    """Makes the state at step 0, and runs a chunk."""
    model, plan = build(c)
    run = make_train_chunk(make_train_step(c, model, plan, 10), STEPS, stops)
    return jax.jit(functools.partial(create_state, c, model, plan)), jax.jit(run)


@pytest.fixture
def other_programs():
    """For a test that changes what is traced: its programs serve no other test."""
    program.cache_clear()
    yield
    program.cache_clear()


def stepped(c, chunk, count, stops=True):
    first, run = program(FrozenConfigDict(c), stops)
    return run(first(), chunk, count)


def test_a_chunk_ends_at_the_step_and_marks_what_is_bad():
    c = config()
    state, metrics = stepped(c, poisoned_batches(), STEPS)
    assert int(state.step) == BAD + 1
    assert np.asarray(metrics["nonfinite"]).any(axis=1).tolist() == [False, False, True, False]
    whole, _ = stepped(c, batches(), BAD)
    before, _ = stepped(c, poisoned_batches(), BAD)
    chex.assert_trees_all_equal(before.replace(key=None), whole.replace(key=None))


@pytest.mark.parametrize(
    "changes",
    [
        {
            "loss__balancing": "uncertainty",
            "optim__table_dtype": "bfloat16",
            "train__average": 0.9,
        },
        *(
            pytest.param(changes, marks=pytest.mark.nightly)
            for changes in (
                {"optim__tables": "dense", "optim__table_l2": 0.1},
                {"parallel__table_platform": "tpu", "optim__tables": "adagrad"},
                {"model__experts": "hcnet", "model__hcnet__codebook_rows": 10},
                {"loss__balancing": "gradnorm", "loss__gradnorm__scope": "shared"},
            )
        ),
    ],
)
def test_a_skipped_step_changes_nothing_but_the_count(changes):
    c = config(train__skip_nonfinite=1, model__dropout=0.1, **changes)
    before, _ = stepped(c, poisoned_batches(), BAD, stops=False)
    after, _ = stepped(c, poisoned_batches(), BAD + 1, stops=False)
    assert int(after.step) == BAD + 1
    chex.assert_trees_all_equal(
        before.replace(key=None, step=None), after.replace(key=None, step=None)
    )
    last, _ = stepped(c, poisoned_batches(), STEPS, stops=False)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last.params))


@pytest.mark.parametrize("part", ["rows", "dense"])
def test_one_gradient_alone_is_marked_by_its_name(monkeypatch, other_programs, part):
    plain = step.make_gradients

    def spoiling(*given):
        gradients = plain(*given)

        def spoiled(*given):
            found = gradients(*given)
            leaves, tree = jax.tree.flatten(getattr(found, part))
            leaves[-1] = leaves[-1].at[(0,) * leaves[-1].ndim].set(jnp.inf)
            return found._replace(**{part: tree.unflatten(leaves)})

        return spoiled

    monkeypatch.setattr(step, "make_gradients", spoiling)
    state, metrics = stepped(config(), batches(), STEPS)
    names = finite.names(build(config())[1].schema.task_names, state.params, state.tables)
    marked = [names[n] for n in np.flatnonzero(metrics["nonfinite"][0])]
    last = {"rows": "table embedding", "dense": finite.paths(state.params)[-1]}[part]
    assert marked == [last]


def test_a_step_that_may_not_be_skipped_selects_nothing():
    def selections(c):
        model, plan = build(c)
        step = make_train_step(c, model, plan, 10)
        state = jax.eval_shape(functools.partial(create_state, c, model, plan))
        batch = jax.tree.map(lambda a: a[0], batches())
        return str(jax.make_jaxpr(step)(state, batch)).count("select_n")

    assert selections(config()) < selections(config(train__skip_nonfinite=1))


def stopping(workdir, c) -> str:
    with pytest.raises(UserError) as caught:
        train(c, workdir)
    return str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *(
            pytest.param(changes, marks=pytest.mark.nightly)
            for changes in (
                {"data__placement": "stream", "parallel__devices": 2, "parallel__strategy": "pmap"},
                {"parallel__devices": 2},
            )
        ),
    ],
)
def test_a_run_ends_at_the_step_and_its_batch_replays(
    changes, prepared_dir, tmp_path, monkeypatch, capsys
):
    poison(monkeypatch, 22)
    c, workdir = small(prepared_dir, **changes), tmp_path / "run"
    told = stopping(workdir, c)
    assert told.startswith("not finite at step 22: the loss of income; the gradient of ")
    assert " more, by name, not by cause. The checkpoint of step 15 is kept." in told
    assert Checkpoints(workdir).last.latest_step() == 15
    assert [r["step"] for r in logged(workdir)] == [15, 20]
    path = workdir / "nonfinite/step-22.npz"
    assert str(path) in told
    kept = nonfinite.read(path)
    assert np.argwhere(np.isnan(kept.batch.labels)).tolist() == [[3, 0]]
    assert kept.batch.ids.shape[0] == c.data.batch_size
    monkeypatch.undo()
    capsys.readouterr()
    replay.main([f"--batch={path}", f"--data_dir={prepared_dir}"])
    out = capsys.readouterr().out
    assert "Step 22, from the checkpoint of step 15 on, which is 6 steps before it." in out
    assert "The first that is not finite: batch labels" in out
    assert re.search(r"loss\s+income", out)


def test_labels_that_a_loss_does_not_take_are_told():
    """Not those of padding, unknown ones, or of a task whose loss is finite."""
    batch = jax.tree.map(lambda a: np.array(a[0]), batches())
    batch.labels[:, 1] = [-9, -8, -3, *np.zeros(len(batch.labels) - 3)]
    batch.row_mask[0], batch.label_mask[1, 1] = False, False
    losses = [TaskLoss("click", cross_entropy.CrossEntropy()), TaskLoss("watch", LogNormal())]
    told = nonfinite.wrong_labels(losses, ("click", "watch"), batch)
    assert "watch has labels below 0, such as -3, which its loss, LogNormal, does not take" in told
    assert "click" not in told
    assert not nonfinite.wrong_labels(losses, ("click",), batch)
    batch.labels[2, 1] = 0
    assert not nonfinite.wrong_labels(losses, ("click", "watch"), batch)


@pytest.mark.slow
def test_skipped_steps_are_counted_and_resume_bit_by_bit(prepared_dir, tmp_path, monkeypatch):
    poison(monkeypatch, 7, 22)
    c = small(prepared_dir, train__skip_nonfinite=2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    results = train(c, whole)
    assert results["skipped_steps"] == 2
    assert [r.get("skipped") for r in logged(whole) if r["kind"] == "train"] == [1, 2, 2]
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 3)  # between the two
        train(c, cut)
    train(c, cut)
    assert_same_run(c, whole, cut)
    assert json.loads((cut / "results.json").read_text())["skipped_steps"] == 2


@pytest.mark.nightly
def test_one_step_more_than_may_be_skipped_ends_the_run(prepared_dir, tmp_path, monkeypatch):
    poison(monkeypatch, 7, 22)
    told = stopping(tmp_path / "run", small(prepared_dir, train__skip_nonfinite=1))
    assert "not finite at step 22: " in told
    assert "(1 such steps were skipped: train.skip_nonfinite)" in told
    c = small(prepared_dir, train__skip_nonfinite=2)  # the same folder goes on
    assert train(c, tmp_path / "run", test=False)["skipped_steps"] == 2


def test_a_state_that_is_not_finite_is_not_saved(prepared_dir, tmp_path):
    """A rate so high that finite gradients make infinite parameters."""
    c = small(prepared_dir, optim__learning_rate=3e38, optim__weight_decay=100.0)
    c.train.checkpoint_every = 1
    told = stopping(tmp_path / "run", c)
    assert re.match(r"step 1 left numbers that are not finite in parameter ", told)
    assert Checkpoints(tmp_path / "run").last.latest_step() is None


def test_what_is_no_batch_is_refused(prepared_dir, tmp_path, monkeypatch):
    poison(monkeypatch, 1)
    assert "There is no checkpoint yet." in stopping(tmp_path / "run", small(prepared_dir))
    path = tmp_path / "run/nonfinite/step-1.npz"
    whole = path.read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is no batch of a step that was not finite"):
            replay.main([f"--batch={path}"])
    path.write_bytes(whole)
    kept = nonfinite.read(path)
    shorter = kept.batch.replace(ids=kept.batch.ids[1:])
    nonfinite.write(path, dataclasses.replace(kept, batch=shorter))
    with pytest.raises(UserError, match=r"ids is int32\[255, 12\], expected int32\[256, 12\]"):
        replay.main([f"--batch={path}"])
    with pytest.raises(UserError, match=r"no file .*/step-9\.npz: a run that met NaN"):
        replay.main([f"--batch={path.with_name('step-9.npz')}"])
