"""Where batches lie and what waits for what: the numbers are the same, the host is ahead."""

import contextlib
import threading

import jax
import pytest
from small_runs import CutError, assert_same_run, small

from dtn_jax.parallel.mesh import Placement
from dtn_jax.run import train as training
from dtn_jax.run.train import train


@pytest.mark.parametrize("fails", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_streamed_run_is_the_resident_one_and_its_thread_ends(
    uncut, prepared_dir, tmp_path, monkeypatch, fails
):
    at_work = []
    fetch = training.LossLog.fetch

    def fetch_and_end(self, leave):
        at_work.append(readers())
        if fails and len(at_work) == 3:
            raise CutError
        fetch(self, leave)

    monkeypatch.setattr(training.LossLog, "fetch", fetch_and_end)
    config = small(prepared_dir, data__placement="stream")
    with contextlib.nullcontext() if not fails else pytest.raises(CutError):
        train(config, tmp_path / "run")
    assert any(at_work)
    for thread in readers():
        thread.join(120)
    assert not readers()
    if not fails:
        assert_same_run(config, tmp_path / "run", uncut[0])


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_the_host_waits_for_nothing_inside_the_loop(prepared_dir, tmp_path, monkeypatch):
    """Metrics come through one function, each chunk once, when the next one is on its way."""
    events = []
    compile_, fetch = Placement.compile, jax.device_get

    def noting_compile(self, *args):
        run = compile_(self, *args)

        def noting_run(*given):
            events.append("step")
            return run(*given)

        return noting_run

    def noting_fetch(what):
        events.append("fetch")
        return fetch(what)

    monkeypatch.setattr(Placement, "compile", noting_compile)
    monkeypatch.setattr("dtn_jax.run.loss_log.jax.device_get", noting_fetch)
    config = small(prepared_dir, train__eval_every=1000, train__checkpoint_every=1000)
    config.train.max_steps = 64
    config.train.log_every = 1000
    train(config, tmp_path / "run")
    loop, after = events[:8], events[8:]
    assert loop == ["step", "step", "fetch", "step", "fetch", "step", "fetch", "fetch"]
    assert set(after) <= {"fetch"}  # of a checkpoint, which holds no state that is not finite
