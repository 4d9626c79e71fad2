"""An exported DTN scores files: its rate beside the bare forward pass, encoding, and memory.

The log is that of the suite `logs`, 20 columns and 17 fields. The bare forward pass is the compiled
program alone, called with the same rows, encoded before, which lie on the device. Scoring goes
from a Parquet file to another one: reading, encoding, the program, writing. They take turns.
Encoding is timed by the CPU time of all threads. Memory is the peak of a process that scores a file
with a small model, which leaves most of the time to the rest.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

import jax
import numpy as np
import polars as pl

import dtn_jax.export
from dtn_jax.export.model import Model
from dtn_jax.export.score_files import Job
from experiments.benchmarks.logs import columns, exported
from experiments.benchmarks.measured import (
    Clock,
    Goal,
    Measured,
    Options,
    apart,
    peak_mb,
    ratio,
    timed_in_turns,
)

PREPARED, QUICK_PREPARED = 200_000, 20_000  # rows of the log that the models are trained on
SCORED, QUICK_SCORED = 524_288, 1_024  # by DTN
GROUP = 131_072  # rows of a row group: the file has several units, as in use
SIZES, QUICK_SIZES = (10**6, 10**7), (2_000, 4_000)  # of the files whose memory is measured
ENCODED = 65_536
ROUNDS = 5
WANTED_RATIO, WANTED_RATE, FLAT = 0.8, 5e5, 1.2
SMALL = (
    "shared_bottom,model.experts=mlp,model.mlp.hidden=8,model.expert_dim=8,model.tower_hidden=8,"
    "model.embedding_dim=4"
)


def measure(options: Options) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepared = QUICK_PREPARED if options.quick else PREPARED
        model = dtn_jax.export.load(exported(folder, "large", "dtn", prepared))
        lines, goals = rates(model, folder, options.quick)
        encoded = encoding(model, options.quick)
        goals.append(Goal("encoding, rows/s a core", WANTED_RATE, encoded["a second of a core"]))
        exported(folder, "small", SMALL, prepared)
        sizes = QUICK_SIZES if options.quick else SIZES
        peaks = [scored_apart(folder, size) for size in sizes]
        name = f"peak MB of {sizes[1]:,} rows over those of {sizes[0]:,}"
        grown = peaks[1]["peak MB"] / peaks[0]["peak MB"]
        goals.append(Goal(name, FLAT, grown, at_least=False))
    return Measured("Scored or encoded rows, a second", [*lines, encoded, *peaks], goals)


def row(what: str, rows: int, wall: float, cpu: float | None = None, peak: float | None = None):
    core = rows / cpu if cpu else None
    return {"what": what, "a second": rows / wall, "a second of a core": core, "peak MB": peak}


def rates(model: Model, folder: pathlib.Path, quick: bool) -> tuple[list[dict], list[Goal]]:
    """DTN: the bare forward pass, and from file to file."""
    size = QUICK_SCORED if quick else SCORED
    frame, largest = columns(size, 1), model.batches.largest
    frame.write_parquet(folder / "day.parquet", row_group_size=GROUP)
    starts = range(0, size, largest)
    batches = [program_inputs(model, frame[start : start + largest]) for start in starts]
    weights, program = model.batches.placed, model.batches.run

    def bare() -> None:
        jax.block_until_ready([program(weights, inputs) for inputs in batches])

    def files() -> None:
        given, output = [str(folder / "day.parquet")], folder / "scores.parquet"
        list(Job(model, given, output, replace=True, say=lambda _: None).run())

    calls = {"bare forward pass": bare, "from file to file": files}
    timed_in_turns(calls, 1)  # compiles
    seconds = timed_in_turns(calls, 1 if quick else ROUNDS)
    lines = [row(f"DTN, {name}", size, float(np.median(s))) for name, s in seconds.items()]
    share = ratio(seconds["bare forward pass"], seconds["from file to file"])
    return lines, [Goal("DTN from file to file, x the bare forward pass", WANTED_RATIO, share)]


def program_inputs(model: Model, frame: pl.DataFrame) -> dict[str, jax.Array]:
    """What the program takes of raw rows, on the device."""
    encoded = model.encode(frame)
    inputs = model.batches.inputs(encoded.ids, encoded.weights, encoded.numeric)
    return jax.device_put(inputs)


def encoding(model: Model, quick: bool) -> dict:
    """Rows that a core encodes a second."""
    frame = columns(QUICK_SCORED if quick else ENCODED, 2)
    model.encode(frame)
    rounds = 1 if quick else ROUNDS
    with Clock() as clock:
        for _ in range(rounds):
            model.encode(frame)
    return row("encoding", rounds * len(frame), clock.wall, clock.cpu)


def scored_apart(folder: pathlib.Path, size: int) -> dict:
    """A file of so many rows, scored by the small model in a process of its own."""
    given = folder / f"{size}"
    given.mkdir()
    for place in range(-(-size // PREPARED)):
        frame = columns(min(PREPARED, size - place * PREPARED), place)
        frame.write_parquet(given / f"{place:03d}.parquet")
    return apart("score", str(folder / "small"), str(given))


def alone(folder: str, given: str) -> dict:
    """The rate, and the most memory that this process has held."""
    model = dtn_jax.export.load(folder)
    with Clock() as clock:
        done = sum(Job(model, [given], f"{given}.parquet", say=lambda _: None).run())
    return row(f"small model, {done:,} rows", done, clock.wall, clock.cpu, peak_mb())


if __name__ == "__main__":
    print(json.dumps(alone(*sys.argv[1:3])))
