"""Configurations that no memory holds: refused before anything is compiled, with the numbers."""

import re
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import pytest
from command_calls import ROOT, TINY, message_of

from dtn_jax.errors import UserError
from dtn_jax.parallel import memory

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("model.embedding_dim=1000000000", "tables"),
        ("model.embedding_dim=100000000", "slots (optim.tables=adam)"),
        ("model.expert_dim=1000000000", "dense parameters"),
        ("model.tower_hidden=1000000000", "their moments (Adam)"),
        ("data.eval_batch_size=100000000000", "batches and the rows that one looks up"),
        ("data.batch_size=100000000", "batches and the rows that one looks up"),
    ],
)
def test_what_is_too_large_is_told_by_part(shell, tmp_path, option, part, monkeypatch):
    monkeypatch.setattr(memory, "of_host", lambda: 25 * 10**9)
    message = message_of(shell(TINY, f"--config.{option}", f"--workdir={tmp_path / 'run'}"))
    assert not (tmp_path / "run").exists()
    first, *lines, last = message.splitlines()
    assert re.fullmatch(
        r"this run cannot fit: it holds at least [\d,.]+ GB, and there are 25\.00 GB of memory on "
        r"cpu x \d",
        first,
    )
    key = option.partition("=")[0]
    assert any(part in line and key in line for line in lines)
    assert last == "Lower these options; --force tries nevertheless"


def test_force_asks_for_no_check(shell, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "of_host", lambda: 100_000)
    asked, arguments = [], (TINY, f"--workdir={tmp_path / 'run'}")
    assert "0.00 GB of memory" in message_of(shell(*arguments))
    note = lambda config, workdir, **_: asked.append(config.parallel.check_memory)  # noqa: E731
    monkeypatch.setattr("dtn_jax.run.train.train", note)
    assert shell(*arguments, "--force").code == 0
    assert asked == [False]


def test_want_of_memory_while_running_is_a_message(capsys):
    """To read a number of a failed state waits for ever; `told` has its error."""
    message = r"memory ran out \(RESOURCE_EXHAUSTED.*\); lower this"
    with pytest.raises(UserError, match=message), memory.told("this"):
        jax.block_until_ready(jax.jit(lambda: (jnp.zeros(()), jnp.ones(10**14, jnp.int8)))())
    with pytest.raises(ZeroDivisionError), memory.told("this"):
        1 / 0  # noqa: B018


def test_a_device_says_what_it_has():
    def device(has):
        made = mock.Mock(spec=jax.Device, platform="gpu", device_kind="H100")
        made.memory_stats.return_value = has
        return made

    two = [device({"bytes_limit": 10}), device({"bytes_limit": 20})]
    memory.check([memory.Part("a", 15, "b")], two)
    with pytest.raises(UserError, match="of memory on H100 x 2"):
        memory.check([memory.Part("a", 16, "b")], two)
    memory.check([memory.Part("a", 10**28, "b")], [device(None)])  # it does not say
    assert memory.size(25_300_000_000) == "25.30 GB"


@pytest.mark.slow
def test_a_process_that_runs_out_of_memory_ends(prepared_dir, tmp_path):
    """XLA fails while it makes the state; without the message the process would wait for ever."""
    words = [sys.executable, "-m", "experiments.train", "--force", f"--workdir={tmp_path}/run"]
    words += [TINY.replace("embedding_dim=4", f"embedding_dim={10**9}")]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 2
    assert "memory ran out (RESOURCE_EXHAUSTED" in ended.stderr
    assert "lower data.batch_size" in ended.stderr
    assert "Traceback" not in ended.stderr
