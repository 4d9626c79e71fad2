"""What the launcher does when processes end, how they meet, and what a run on several needs."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from small_runs import small

from configs.base import get_config
from dtn_jax.cli import launch
from dtn_jax.errors import UserError
from dtn_jax.parallel import processes
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.run.run import build_run
from dtn_jax.run.train import training_data

ROOT = pathlib.Path(__file__).parents[2]
BAD = ("localhost:-1,1,0", "localhost:65536,1,0", "localhost:x,1,0", ":1,1,0", "localhost:1,1,1")
JOIN = (
    "import sys; from configs.base import get_config; from dtn_jax.parallel import processes\n"
    "given = get_config().parallel; given.processes, given.meet_seconds = sys.argv[1], 5\n"
    "processes.join(given)"
)


def test_the_launcher_gives_up_and_does_not_repeat_wrong_input(monkeypatch, capsys):
    codes = [[0, -9], [0, 134], [-6, -9]]
    monkeypatch.setattr(launch, "run_once", lambda *_: codes.pop(0))
    assert launch.run_until_done([], 2, 2) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "process 1 of 2 ended with signal 9; restarting all (2 restarts left)" in shown
    assert "process 1 of 2 ended with exit code 134; restarting all (1 restarts left)" in shown
    assert "process 0 of 2 ended with signal 6; the same command resumes" in shown
    codes = [[2, -6], [0, 0]]
    assert launch.run_until_done([], 2, 2) == 2
    assert launch.run_until_done([], 2, 2) == 0


def test_the_launcher_restarts_no_preempted_processes(monkeypatch):
    for codes, expected in (
        ([143, 143], 143),
        ([-signal.SIGTERM, -6], 143),  # before there was anything to save
        ([2, 143], 2),
        ([130, 143], 130),
    ):
        calls = iter([codes])
        monkeypatch.setattr(launch, "run_once", lambda *_, calls=calls: next(calls))
        assert launch.run_until_done([], 2, 3) == expected


def test_what_the_launcher_needs():
    with pytest.raises(UserError, match="after --"):
        launch.main(["--processes=2"])
    with pytest.raises(UserError, match="at least 1"):
        launch.main(["--processes=0", "--", "x"])


def meet(text, seconds=1):
    parallel = get_config().parallel
    parallel.processes, parallel.meet_seconds = text, seconds
    processes.join(parallel)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, re.escape(text)) for text in ("on", "host,2,0", "host:1,2", "host:1,two,0")),
        *((text, "expected off, auto or HOST:PORT,COUNT,INDEX") for text in BAD),
    ],
)
def test_how_processes_meet_is_checked(text, message):
    with pytest.raises(UserError, match=message):
        meet(text)


@pytest.mark.slow
@pytest.mark.parametrize("index", [1, pytest.param(0, marks=pytest.mark.nightly)])
def test_one_that_waits_alone_gives_up(index):
    address = f"127.0.0.1:{launch.free_port()}"
    ended = subprocess.run(
        [sys.executable, "-c", JOIN, f"{address},2,{index}"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"Meeting the other processes (parallel.processes={address},2,")
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: the other processes did not answer within 5 s")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("count", "nearest"), [(16, "992 and 1008"), (1024, "1024")])
def test_more_processes_than_lanes(count, nearest, prepared_dir, monkeypatch):
    """Adult has 8 lanes; every process has a device."""
    simulate(monkeypatch, [1] * count)
    changes = {"parallel__devices": 0, "data__eval_batch_size": 1024}
    run = build_run(small(prepared_dir, data__batch_size=1024, **changes))
    assert (run.data.layout.lanes, run.at.mesh.size) == (8, count)
    with pytest.raises(UserError, match=f"=1000 .* {count} devices; the nearest: {nearest};"):
        build_run(small(prepared_dir, data__batch_size=1000, **changes))


def test_batches_that_suit_the_devices_but_not_the_lanes(prepared_dir, monkeypatch):
    simulate(monkeypatch, [1, 1, 1, 1])
    config = small(prepared_dir, parallel__devices=0, data__batch_size=100)
    with pytest.raises(UserError, match="8 lanes; the nearest on 4 devices: 96 and 104"):
        build_run(config)


def test_several_processes_keep_no_set_on_the_device(prepared_dir, monkeypatch):
    simulate(monkeypatch, [1] * 16)
    changes = {"parallel__devices": 0, "data__placement": "device"}
    with pytest.raises(UserError, match="placement=device needs one process"):
        training_data(build_run(small(prepared_dir, **changes)))


def test_devices_of_a_process_lie_side_by_side(monkeypatch):
    simulate(monkeypatch, [2, 2], order=[0, 2, 1, 3])
    config = get_config()
    config.parallel.devices = 4
    assert [d.id for d in make_placement(config).mesh.devices.flat] == [0, 1, 2, 3]


@dataclasses.dataclass(frozen=True)
class Device:
    """Stands for one of another process."""

    id: int
    process_index: int
    platform: str = "cpu"


def simulate(monkeypatch, devices, order=None):
    """As process 0 of some that have so many devices each."""
    owners = [process for process, count in enumerate(devices) for _ in range(count)]
    found = [Device(i, process) for i, process in enumerate(owners)]
    monkeypatch.setattr("jax.devices", lambda: [found[i] for i in order or range(len(found))])
    monkeypatch.setattr("jax.process_count", lambda: len(devices))
    monkeypatch.setattr("jax.process_index", lambda: 0)
    monkeypatch.setattr(processes, "first_alone", lambda do: do())
