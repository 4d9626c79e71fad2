"""What a peer is told (a folder with job.json and arrays.npz), and how it takes its turns."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
import time
import types
from collections.abc import Callable, Mapping

import numpy as np


def read(folder: str) -> tuple[types.SimpleNamespace, Mapping[str, np.ndarray]]:
    """The job, as experiments/benchmarks/peers.py wrote it, and the arrays to train on."""
    job = json.loads((pathlib.Path(folder) / "job.json").read_text())
    arrays = dict(np.load(pathlib.Path(folder) / "arrays.npz"))
    return types.SimpleNamespace(**job), arrays


def serve(about: Mapping, train: Callable[[], float]) -> None:
    """Says what the peer is, then trains once for every line that comes in.

    Each is answered by one line of JSON. What a library prints goes to stderr meanwhile.

    Args:
      about: parameters, version and remarks.
      train: trains on all rows once, returns the mean loss of an example, summed over tasks.
    """
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        print(json.dumps(about), file=answers, flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            loss = train()
            seconds = time.perf_counter() - start
            print(json.dumps({"seconds": seconds, "loss": loss}), file=answers, flush=True)
