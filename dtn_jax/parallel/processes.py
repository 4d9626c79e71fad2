"""One run on several hosts: every process runs the same program on its part of each batch.

All processes must see the same workdir (checkpoints are written by all of them) and the prepared
data. The first one prepares, logs, draws and speaks; the others keep silent.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.options import option
from dtn_jax.report import screen

T = TypeVar("T")
TEXT_BYTES = 1000  # of a text that the first process tells the others
LAST_PORT = 65_535
NEVER = 3600  # seconds beyond the most that JAX may wait: it does not come to that
EXPECTED = "expected off, auto or HOST:PORT,COUNT,INDEX, such as 10.0.0.1:8476,4,0"


@dataclasses.dataclass(frozen=True)
class ProcessOptions:
    """Section `parallel`: processes."""

    processes: str = option(
        "off", "off, auto (SLURM, TPU pod, Kubernetes, MPI) or HOST:PORT,COUNT,INDEX", runtime=True
    )
    heartbeat_seconds: int = option(
        20, "a process silent for longer is dead, and ends the others", least=1, runtime=True
    )
    meet_seconds: int = option(
        120,
        "how long processes wait for each other at the start; hosts may begin minutes apart",
        least=1,
        most=86_400,
        runtime=True,
    )


def join(parallel: ConfigDict) -> None:
    """Meets the other processes of the run, where `parallel.processes` says that there are some.

    A process that dies is noticed by the others within `parallel.heartbeat_seconds`; JAX then
    ends them too, by a signal and not by an exception: what starts processes (a cluster's
    scheduler, or dtn-jax launch) must start all of them again, which resumes the run.

    Where they do not meet within `parallel.meet_seconds`, the process ends with exit code 1.

    Raises:
      UserError: a value that is none of the expected, or no cluster found.
      RuntimeError: JAX is at work already.
    """
    if parallel.processes == "off" or jax.distributed.is_initialized():
        return
    where = {} if parallel.processes == "auto" else _parse(parallel.processes)
    seconds = parallel.meet_seconds
    screen.say(f"Meeting the other processes (parallel.processes={parallel.processes}).")
    late = threading.Timer(seconds, _give_up, (parallel.processes, seconds))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            **where,
            heartbeat_timeout_seconds=parallel.heartbeat_seconds,
            initialization_timeout=seconds + NEVER,
        )
        # The first meeting may take seconds, a later one as long as it needs: meet now.
        multihost_utils.sync_global_devices("joined")
    except ValueError as error:  # no cluster; what fails in a cluster may succeed next time
        raise UserError(f"parallel.processes={parallel.processes}: {error}") from error
    finally:
        late.cancel()
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _give_up(where: str, seconds: int) -> None:
    """Ends the process: JAX would dump its stack, or wait on."""
    print(
        f"error: the other processes did not answer within {seconds} s (parallel.meet_seconds): "
        f"start all with the same address, and see that it can be reached, in {where}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _parse(text: str) -> dict:
    address, *numbers = text.split(",")
    host, _, port = address.rpartition(":")
    good = host and len(numbers) == 2 and all(n.strip().isdecimal() for n in [port, *numbers])
    count, index = map(int, numbers) if good else (0, 0)
    if index >= count or not 1 <= int(port) <= LAST_PORT:
        raise UserError(f"parallel.processes={text!r}: {EXPECTED}, INDEX from 0 to COUNT - 1")
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


def first_alone(do: Callable[[], T]) -> T:
    """Calls `do` in the first process, and in the others after it is done there."""
    done = do() if is_first() else None
    multihost_utils.sync_global_devices("first_alone")
    return done if is_first() else do()


def told_by_first(tell: Callable[[], str]) -> str:
    """What `tell` returns in the first process, which alone calls it; all processes get it.

    A text of more than 1000 bytes is cut.
    """
    text = tell().encode()[:TEXT_BYTES] if is_first() else b""
    sent = np.frombuffer(text.ljust(TEXT_BYTES, b"\0"), np.uint8)
    got = np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8)
    return got.tobytes().rstrip(b"\0").decode(errors="replace")


def own_part(size: int) -> slice:
    """Which of a batch's `size` rows belong to this process; processes divide them evenly."""
    each = size // jax.process_count()
    return slice(jax.process_index() * each, (jax.process_index() + 1) * each)


def read_by_all(read: Callable[[slice], np.ndarray], rows: int) -> np.ndarray:
    """All rows of something that is read once, of which each process reads its part.

    Args:
      read: gives a part of the rows, `[part, ...]`.
      rows: how many there are.

    Returns:
      `[rows, ...]` in every process.
    """
    each = -(-rows // jax.process_count())
    part = own_part(each * jax.process_count())
    values = read(slice(min(part.start, rows), min(part.stop, rows)))
    padded = np.pad(values, [(0, each - len(values))] + [(0, 0)] * (values.ndim - 1))
    # As bytes: JAX would make 32 bits of 64.
    joined = all_parts(np.frombuffer(padded.tobytes(), np.uint8)[None])
    return np.frombuffer(joined.tobytes(), values.dtype).reshape(-1, *values.shape[1:])[:rows]


def all_parts(part: np.ndarray) -> np.ndarray:
    """Joins the processes' parts of some batches; every process gets the whole.

    Args:
      part: this process's `[steps, B / processes, ...]`.

    Returns:
      `[steps, B, ...]`.
    """
    if jax.process_count() == 1:
        return part
    parts = multihost_utils.process_allgather(part)  # [processes, steps, ...]
    return np.concatenate(list(parts), axis=1)
