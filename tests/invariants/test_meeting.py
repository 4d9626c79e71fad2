"""Processes that do not meet say so, with the address, within a bounded time."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

from configs.base import get_config
from dtn_jax.cli.launch import free_port
from dtn_jax.errors import UserError
from dtn_jax.parallel import processes

ROOT = pathlib.Path(__file__).parents[2]
JOIN = (
    "import sys; from configs.base import get_config; from dtn_jax.parallel import processes\n"
    "given = get_config().parallel; given.processes, given.meet_seconds = sys.argv[1], 5\n"
    "processes.PATIENCE = 1\n"
    "processes.join(given)"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost:-1,1,0", "expected a port from 1 to 65535, got '-1'"),
        ("localhost:65536,1,0", "expected a port from 1 to 65535, got '65536'"),
        ("localhost:x,1,0", "expected a port from 1 to 65535, got 'x'"),
        (":8476,1,0", "expected off, auto or HOST:PORT,COUNT,INDEX"),
        ("localhost:8476,1,1", "INDEX counts from 0 to 0"),
    ],
)
def test_an_address_that_cannot_be(text, message):
    parallel = get_config().parallel
    parallel.processes = text
    with pytest.raises(UserError, match=message):
        processes.join(parallel)


def test_a_host_that_nobody_knows(monkeypatch):
    def unknown(*_):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(processes.socket, "getaddrinfo", unknown)
    parallel = get_config().parallel
    parallel.processes, parallel.meet_seconds = "nowhere:4000,2,1", 1
    with pytest.raises(UserError, match="the host of nowhere:4000 was not known within 1 s"):
        processes.join(parallel)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "index", "what"),
    [
        ("127.0.0.1", 1, "the first process, at {},"),
        pytest.param(
            *("127.0.0.1", 0, "the 1 other process, to whom this one is {},"),
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_one_that_waits_alone_gives_up(host, index, what):
    address = f"{host}:{free_port()}"
    ended = subprocess.run(
        [sys.executable, "-c", JOIN, f"{address},2,{index}"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 1
    assert ended.stdout == f"waiting for {what.format(address)} at most 5 s\n"
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"error: {what.format(address)} did not answer within 5 s")
    assert "Traceback" not in ended.stderr
