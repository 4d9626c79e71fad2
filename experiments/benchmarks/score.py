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
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import polars as pl

import dtn_jax.export
from configs import logs as logs_config
from dtn_jax.data import prepare as logs
from dtn_jax.export.model import Model
from dtn_jax.export.score_files import Job
from dtn_jax.export.write import export_run
from dtn_jax.train import train
from experiments.benchmarks.logs import SCHEMA, columns
from experiments.benchmarks.measured import Goal, Measured, Options, ratio, timed_in_turns

PREPARED, QUICK_PREPARED = 200_000, 20_000  # rows of the log that the models are trained on
SCORED, QUICK_SCORED = 524_288, 1_024  # by DTN
GROUP = 131_072  # rows of a row group: the file has several units, as in use
SIZES, QUICK_SIZES = (10**6, 10**7), (2_000, 4_000)  # of the files whose memory is measured
ENCODED, FORMS = 65_536, ("Parquet's types", "texts, as of CSV")
ROUNDS = 5
WANTED_RATIO, WANTED_RATE, FLAT = 0.8, 5e5, 1.2
SMALL = (
    "shared_bottom,model.experts=mlp,model.mlp.hidden=8,model.expert_dim=8,model.tower_hidden=8,"
    "model.embedding_dim=4"
)


def measure(options: Options) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        frame = columns(QUICK_PREPARED if options.quick else PREPARED, 0)
        frame.write_parquet(folder / "log.parquet")
        (folder / "shop.yaml").write_text(SCHEMA)
        logs.prepare(folder / "shop.yaml", str(folder / "log.parquet"), folder / "data")
        model = dtn_jax.export.load(exported(folder, "dtn"))
        found, goals = rates(model, folder, options.quick)
        more = [encoding(model, form, options.quick) for form in FORMS]
        goals.append(Goal("encoding, rows/s a core", WANTED_RATE, more[0]["a second of a core"]))
        exported(folder, SMALL, "small")
        sizes = QUICK_SIZES if options.quick else SIZES
        peaks = [apart(folder, size) for size in sizes]
        name = f"peak MB of {sizes[1]:,} rows over those of {sizes[0]:,}"
        grown = peaks[1]["peak MB"] / peaks[0]["peak MB"]
        goals.append(Goal(name, FLAT, grown, at_least=False))
    return Measured("Scored or encoded rows, a second", [*found, *more, *peaks], goals)


def exported(folder: pathlib.Path, argument: str, name: str = "dtn") -> pathlib.Path:
    """A model of the log, trained for a few steps."""
    config = logs_config.get_config(f"{argument},schema={folder / 'shop.yaml'},quick")
    config.data.data_dir, config.parallel.devices = str(folder / "data"), 1
    config.data.batch_size = 256
    config.train.max_steps = config.train.eval_every = 2
    train(config, folder / f"run_{name}")
    return export_run([folder / f"run_{name}"], folder / name, say=lambda _: None)


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
    weights, program = model.batches.weights.placed, model.batches.program

    def bare() -> None:
        jax.block_until_ready([program.call(weights, inputs) for inputs in batches])

    def files() -> None:
        given, output = [str(folder / "day.parquet")], folder / "scores.parquet"
        list(Job(model, given, output, replace=True, say=lambda _: None).run())

    calls = {"bare forward pass": bare, "from file to file": files}
    timed_in_turns(calls, 1)  # compiles
    seconds = timed_in_turns(calls, 1 if quick else ROUNDS)
    found = [row(f"DTN, {name}", size, float(np.median(s))) for name, s in seconds.items()]
    share = ratio(seconds["bare forward pass"], seconds["from file to file"])
    return found, [Goal("DTN from file to file, x the bare forward pass", WANTED_RATIO, share)]


def program_inputs(model: Model, frame: pl.DataFrame) -> dict[str, jax.Array]:
    """What the program takes of raw rows, on the device."""
    encoded = model.encode(frame)
    ids = encoded.ids[:, None] + model.batches.offsets
    rows = np.where(encoded.ids[:, None] < 0, model.facts.rows, ids).astype(np.int32)
    inputs = {"ids": encoded.ids, "rows": rows}
    inputs |= {"weights": encoded.weights, "numeric": encoded.numeric}
    return jax.device_put(inputs)


def encoding(model: Model, form: str, quick: bool) -> dict:
    """Rows that a core encodes a second."""
    frame = columns(QUICK_SCORED if quick else ENCODED, 2)
    if form != FORMS[0]:
        frame = frame.with_columns(pl.all().cast(pl.String))
    model.encode(frame)
    wall, cpu, rounds = time.perf_counter(), time.process_time(), 1 if quick else ROUNDS
    for _ in range(rounds):
        model.encode(frame)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return row(f"encoding, {form}", rounds * len(frame), wall, cpu)


def apart(folder: pathlib.Path, size: int) -> dict:
    """A file of so many rows, scored by the small model in a process of its own."""
    given = folder / f"{size}"
    given.mkdir()
    for place in range(-(-size // PREPARED)):
        frame = columns(min(PREPARED, size - place * PREPARED), place)
        frame.write_parquet(given / f"{place:03d}.parquet")
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.score",
        str(folder / "small"),
        str(given),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def alone(folder: str, given: str) -> dict:
    """The rate, and the most memory that this process has held."""
    model = dtn_jax.export.load(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    done = sum(Job(model, [given], f"{given}.parquet", say=lambda _: None).run())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return row(f"small model, {done:,} rows", done, wall, cpu, int(peak.split()[1]) / 1000)


if __name__ == "__main__":
    print(json.dumps(alone(*sys.argv[1:3])))
