"""A step whose loss or gradient is not finite: the run ends there, or goes on without it."""

import collections
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

from dtn_jax.analysis.replay import read
from dtn_jax.cli import replay
from dtn_jax.errors import UserError
from dtn_jax.losses import finite
from dtn_jax.run import step
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.train import train

BAD = 2  # of the steps of a chunk, from 0


def poisoned_batches():
    chunk = batches()
    return chunk.replace(labels=chunk.labels.at[BAD, 3, 0].set(jnp.nan))


@functools.cache
def program(c):
    """Makes the state at step 0, and runs a chunk."""
    model, plan = build(c)
    run = make_train_chunk(make_train_step(c, model, plan, 10), STEPS)
    return jax.jit(functools.partial(create_state, c, model, plan)), jax.jit(run)


@pytest.fixture
def other_programs():
    """For a test that changes what is traced: its programs serve no other test."""
    program.cache_clear()
    yield
    program.cache_clear()


def stepped(c, chunk, count):
    first, run = program(FrozenConfigDict(c))
    return run(first(), chunk, count)


def test_a_chunk_marks_what_is_bad_from_its_step_on():
    _, metrics = stepped(config(), poisoned_batches(), STEPS)
    assert np.asarray(metrics["nonfinite"]).any(axis=1).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {
            "loss__balancing": "uncertainty",
            "optim__table_dtype": "bfloat16",
            "train__average": 0.9,
            "train__accumulate": 2,
        },
        *(
            pytest.param(changes, marks=pytest.mark.nightly)
            for changes in (
                {"optim__tables": "dense", "optim__table_l2": 0.1, "model__normalisation": "batch"},
                {"parallel__table_platform": "tpu", "optim__tables": "adagrad"},
                {"model__experts": "hcnet", "model__hcnet__codebook_rows": 10},
                {"loss__balancing": "gradnorm"},
            )
        ),
    ],
)
def test_a_skipped_step_changes_nothing_but_the_count(changes):
    c = config(train__skip_nonfinite=1, model__dropout=0.1, **changes)
    before, _ = stepped(c, poisoned_batches(), BAD)
    after, _ = stepped(c, poisoned_batches(), BAD + 1)
    assert int(after.step) == BAD + 1
    chex.assert_trees_all_equal(
        before.replace(key=None, step=None), after.replace(key=None, step=None)
    )
    last, _ = stepped(c, poisoned_batches(), STEPS)
    moved = zip(*(jax.tree.leaves(state.params) for state in (after, last)))
    assert any((a != b).any() for a, b in moved)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last.params))


def test_a_step_that_may_be_skipped_copies_no_table():
    def selections(c):
        """How often a step selects, by the shape of what it selects."""
        model, plan = build(c)
        step = make_train_step(c, model, plan, 10)
        state = jax.eval_shape(functools.partial(create_state, c, model, plan))
        program = str(jax.make_jaxpr(step)(state, jax.tree.map(lambda a: a[0], batches())))
        shapes = re.findall(r"\[([\d,]*)\] = select_n", program)
        return collections.Counter(shapes), ",".join(map(str, state.tables["embedding"].shape))

    (plain, table), (skips, _) = (selections(config(train__skip_nonfinite=n)) for n in (0, 1))
    assert plain.total() < skips.total()
    assert plain[table] == skips[table]


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
    assert " more. The checkpoint of step 15 is kept." in told
    assert Checkpoints(workdir).last.latest_step() == 15
    assert [r["step"] for r in logged(workdir)] == [15, 20]
    path = workdir / "nonfinite/step-22.npz"
    assert str(path) in told
    _, batch = read(path)
    assert np.argwhere(np.isnan(batch.labels)).tolist() == [[3, 0]]
    assert batch.ids.shape[0] == c.data.batch_size
    monkeypatch.undo()
    capsys.readouterr()
    replay.main([f"--batch={path}", f"--data_dir={prepared_dir}"])
    out = capsys.readouterr().out
    assert "Step 22, from the checkpoint of step 15 on, which is 6 steps before it." in out
    assert "The first that is not finite: batch labels" in out
    assert re.search(r"loss\s+income", out)
    whole = path.read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"is missing or damaged .* expected a file such as"):
            replay.main([f"--batch={path}"])
    with pytest.raises(UserError, match=r"step-9\.npz is missing or damaged"):
        replay.main([f"--batch={path.with_name('step-9.npz')}"])


@pytest.mark.slow
def test_skipped_steps_are_counted_and_resume_bit_by_bit(prepared_dir, tmp_path, monkeypatch):
    poison(monkeypatch, 7, 22)
    c = small(prepared_dir, train__skip_nonfinite=2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(c, whole)["skipped_steps"] == 2
    assert [r.get("skipped") for r in logged(whole) if r["kind"] == "train"] == [1, 2, 2]
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 3)  # between the two
        train(c, cut)
    train(c, cut)
    assert_same_run(c, whole, cut)
    assert json.loads((cut / "results.json").read_text())["skipped_steps"] == 2


@pytest.mark.slow
def test_one_step_more_than_may_be_skipped_ends_the_run(
    prepared_dir, tmp_path, monkeypatch, capsys
):
    poison(monkeypatch, 17, 22)
    told = stopping(tmp_path / "run", small(prepared_dir))
    assert "not finite at step 17: " in told
    assert "without such steps: train.skip_nonfinite=10." in told
    told = stopping(tmp_path / "run", small(prepared_dir, train__skip_nonfinite=1))
    assert "not finite at step 22: " in told
    assert "(1 such steps were skipped: train.skip_nonfinite)" in told
    path = tmp_path / "run/nonfinite/step-22.npz"
    capsys.readouterr()
    replay.main([f"--batch={path}", f"--data_dir={prepared_dir}"])
    out = capsys.readouterr().out
    assert "The first that is not finite: batch labels" in out
    assert "embeddings" not in out  # step 17 is skipped here, too
    c = small(prepared_dir, train__skip_nonfinite=2)  # the same folder goes on
    assert train(c, tmp_path / "run", test=False)["skipped_steps"] == 2


def test_a_state_that_is_not_finite_is_not_saved(prepared_dir, tmp_path):
    """A rate so high that finite gradients make infinite parameters."""
    c = small(prepared_dir, optim__learning_rate=3e38, optim__weight_decay=100.0)
    c.train.checkpoint_every = 1
    told = stopping(tmp_path / "run", c)
    assert re.match(r"step 1 left numbers that are not finite in params/", told)
    assert Checkpoints(tmp_path / "run").last.latest_step() is None
