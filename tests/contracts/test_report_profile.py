"""A trace of some steps of a run, which changes nothing in it, and the operations in it."""

import collections
import gzip
import json
import re

import jax
import jax.numpy as jnp
import pytest
from small_runs import STEPS as ALL_STEPS
from small_runs import CutError, assert_same_run, cut_after, small

from dtn_jax.cli import train as command
from dtn_jax.errors import UserError
from dtn_jax.report.profile import operations
from dtn_jax.train import train

STEPS = 3


@pytest.fixture(
    scope="module", params=["compiled", pytest.param("from the cache", marks=pytest.mark.slow)]
)
def recorded(request, tmp_path_factory):
    """The trace of STEPS calls of `loop`, whose product is heavier than all else by far, and of
    `other`."""

    def loop(a):
        def body(_, a):
            with jax.named_scope("heavy"):
                a = a @ a
            return a + 1.0

        return jax.lax.fori_loop(0, 2, body, a)

    def other(a):
        with jax.named_scope("light"):
            return a[:16, :16] @ a[:16, :16]

    if request.param == "from the cache":
        jax.clear_caches()
    folder, programs = tmp_path_factory.mktemp("trace"), [jax.jit(loop), jax.jit(other)]
    a = jnp.full((1024, 1024), 1e-3)
    for program in programs:
        program(a).block_until_ready()
    with jax.profiler.trace(str(folder)):
        for program in programs * STEPS:
            program(a).block_until_ready()
    return next(folder.rglob("*.xplane.pb"))


def test_the_heaviest_operation_is_first_with_its_calls_and_its_place(recorded):
    found = operations(recorded)
    assert [o.milliseconds for o in found] == sorted((o.milliseconds for o in found), reverse=True)
    assert "heavy/dot_general" in found[0].source
    assert found[0].calls == 2 * STEPS  # twice in each call's loop
    assert 0 < found[0].milliseconds < 10_000


def test_the_times_are_those_of_the_viewers_file(recorded):
    """JAX writes the events as JSON too, which rounds them to nanoseconds."""
    events = json.loads(gzip.decompress(next(recorded.parent.glob("*.json.gz")).read_bytes()))
    total = collections.Counter()
    for event in events["traceEvents"]:
        operation = event.get("args", {}).get("hlo_op")
        if operation and not operation.startswith("while"):
            total[event["args"]["hlo_module"], operation] += event["dur"] / 1e3
    expected = sorted(total.values(), reverse=True)
    assert [o.milliseconds for o in operations(recorded)] == pytest.approx(expected, rel=1e-3)


def test_a_loop_is_no_operation_and_programs_are_told_apart(recorded):
    found = operations(recorded)
    assert not [o for o in found if o.name.startswith("while") or o.source.endswith("/while")]
    light = [o for o in found if "light/dot_general" in o.source]
    assert [o.calls for o in light] == [STEPS]
    assert light[0].milliseconds < found[0].milliseconds


# ---------------------------------------------------------------- a run


@pytest.fixture
def said(capsys):
    """What was printed since the last call, in one line."""
    return lambda: " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_run_that_is_cut_and_resumed_while_it_is_profiled_is_the_same(
    finished_run, prepared_dir, tmp_path, monkeypatch, said
):
    config = small(prepared_dir)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 1)  # at step 12
        train(config, tmp_path / "run", profile=7)
    text = said()
    assert "the heaviest operations of 7 steps" in text
    assert re.search(r"\d% 7 ", text)  # what runs once a step
    assert "Nothing was profiled" not in text
    train(config, tmp_path / "run", profile=1000)
    text = said()
    assert f"the heaviest operations of {ALL_STEPS - 12 - 1} steps" in text  # one compiles
    assert len(list((tmp_path / "run/profile").rglob("*.xplane.pb"))) == 2
    assert_same_run(config, finished_run, tmp_path / "run")
    train(config, tmp_path / "run", profile=5)
    assert "Nothing was profiled: the run is finished" in said()


@pytest.mark.slow
def test_of_a_run_of_one_step_there_is_nothing(prepared_dir, tmp_path, said):
    train(small(prepared_dir, train__max_steps=1), tmp_path / "run", profile=3)
    assert "Nothing was profiled: the run is finished" in said()
    assert not (tmp_path / "run/profile").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--profile=-1"], "--profile=-1: expected at least 1"),
        (["--profile=2", "--config.replicas=2"], r"leave config\.replicas out"),
        (["--profile=ten"], "invalid int value: 'ten'"),
    ],
)
def test_the_command_checks_it(tmp_path, options, told):
    start = ["--config=configs/adult.py:dtn", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=told):
        command.main([*start, *options])
    assert not (tmp_path / "run").exists()
