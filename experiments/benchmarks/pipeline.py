"""From stored blocks to the device (23 fields), and training streamed against training on device.

A rate by wall time is what a run sees; one by CPU time (of all threads) is what a core can do, and
other work on the machine moves it less. Training takes turns epoch by epoch, each of them exactly
one shuffle window, so that every streamed round reads as many rows as it trains on.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable

import jax
import numpy as np

from configs import base, synthetic
from dtn_jax.data.epochs.batches import CHUNK_STEPS, prefetched
from dtn_jax.data.epochs.epoch_order import steps_per_epoch, window_count, window_order
from dtn_jax.data.epochs.reader import SplitReader, in_order
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.data.sets import catalog
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.tables import huge_pages
from experiments.benchmarks.measured import (
    Cell,
    Clock,
    Goal,
    Measured,
    Options,
    ratio,
    timed_in_turns,
)

LARGE = 1_310_720  # 2^20 train rows: blocks of 1024 rows, an epoch is one window
SMALL = 40_960  # 2^15 train rows: blocks of 128 rows, an epoch is one window
QUICK = 20_000
MODELS = {"shared_bottom": ("mlp", LARGE), "dtn": ("gdcn+masknet", SMALL)}
BATCH = 1024
ROUNDS = 11
WANTED_RATE, WANTED_RATIO = 2e6, 1.05


def measure(options: Options) -> Measured:
    rows, goal = reading(options)
    goals, notes = [goal], []
    for model in MODELS:
        lines, goal, note = training(model, options)
        rows, goals, notes = rows + lines, [*goals, goal], [*notes, note]
    title = "Rows a second, by wall time and by CPU time of all threads"
    return Measured(title, rows, goals, notes)


@dataclasses.dataclass
class Clocked:
    """A function that tells its wall time, and notes its CPU time beside it."""

    function: Callable[[], object]
    cpu: list[float] = dataclasses.field(default_factory=list)

    def __call__(self) -> float:
        with Clock() as clock:
            jax.block_until_ready(self.function())
        self.cpu.append(clock.cpu)
        return clock.wall


def line(what: str, rows: int, wall: np.ndarray, cpu: list[float], **further: Cell):
    """A row of the table; times are those of the rounds."""
    speeds = {name: rows / float(np.median(s)) for name, s in (("wall", wall), ("CPU", cpu))}
    return {"what": what, **speeds, "added ns": None, "/ device": None} | further


def reading(options: Options) -> tuple[list[dict], Goal]:
    """Stages of an epoch's way to the device, each with all that comes before it; and scoring."""
    wanted = f"rows={QUICK if options.quick else LARGE}"
    data = catalog.load("synthetic", wanted, options.data_dir, options.manual_dir)
    reader, rows = SplitReader(data, "train"), data.rows["train"]
    records = [
        window_order(data.layout, rows, 0, 0, window, range(data.layout.lanes))[0].tolist()
        for window in range(window_count(data.layout, rows))
    ]

    def blocks(read):
        for numbers in records:
            read(numbers)

    def chunks(use):
        steps = steps_per_epoch(data.layout, rows, BATCH)
        with contextlib.closing(StreamedData(data, "train", epochs=1)) as stream:
            for start in range(0, steps, CHUNK_STEPS):
                use(stream.chunk(0, 0, start, min(CHUNK_STEPS, steps - start), BATCH))

    stored, device = reader.records, jax.devices()[0]
    score_size = base.get_config().data.eval_batch_size
    stages = {
        "read": lambda: blocks(stored.records.__getitems__),
        "+ decoded": lambda: blocks(stored.__getitems__),
        "+ joined, ids checked": lambda: blocks(lambda r: reader.read(np.asarray(r))),
        "+ shuffled, in steps": lambda: use_up(
            StreamedData(data, "train", 1).steps(0, 0, 0, BATCH)
        ),
        "+ in chunks": lambda: chunks(lambda chunk: None),
        "+ on the device": lambda: chunks(
            lambda chunk: jax.block_until_ready(jax.device_put(chunk, device))
        ),
        "scoring": lambda: use_up(prefetched(in_order(data, "validation", score_size))),
    }
    timers = {name: Clocked(stage) for name, stage in stages.items()}
    wall = timed_in_turns(timers, 2 if options.quick else ROUNDS)
    lines, before = [], 0.0
    for name, timer in timers.items():
        count = data.rows["validation"] if name == "scoring" else rows
        lines.append(line(name, count, wall[name], timer.cpu))
        if name != "scoring":
            added = np.asarray(timer.cpu) - before
            before = np.asarray(timer.cpu)
            lines[-1]["added ns"] = 1e9 * float(np.median(added)) / rows
    return lines, Goal("rows/s a core, stored to device", WANTED_RATE, lines[-2]["CPU"])


def use_up(items: Iterable) -> None:
    for _ in items:
        pass


def training(architecture: str, options: Options) -> tuple[list[dict], Goal, str]:
    """An epoch streamed against the same epoch on the device."""
    experts, rows = MODELS[architecture]
    config = synthetic.get_config(architecture)
    config.data.options = f"rows={QUICK if options.quick else rows}"
    config.data.data_dir, config.data.manual_dir = options.data_dir, options.manual_dir
    config.data.batch_size, config.model.experts = BATCH, experts
    config.parallel.devices = 1
    run = build_run(config)
    sources = {
        "on device": ResidentData(run.data, "train", run.at.replicated()),
        "streamed": StreamedData(run.data, "train"),
    }
    with contextlib.closing(sources["streamed"]):
        rows = run.data.rows["train"]
        trainers = {name: Trainer(run, source, rows) for name, source in sources.items()}
        timers = {name: Clocked(trainer.epoch) for name, trainer in trainers.items()}
        for timer in timers.values():  # compiles, and starts the reading ahead
            timer.function()
        wall = timed_in_turns(timers, 2 if options.quick else ROUNDS)
    count, what = run.data.rows["train"], f"training {architecture}"
    lines = [line(f"{architecture}, {n}", count, wall[n], timers[n].cpu) for n in sources]
    lines[1]["/ device"] = ratio(wall["streamed"], wall["on device"])
    cpu = {name: np.asarray(timer.cpu) for name, timer in timers.items()}
    note = f"{what}: CPU time streamed / on device {ratio(cpu['streamed'], cpu['on device']):.3f}"
    goal = Goal(f"{what}, streamed / on device", WANTED_RATIO, lines[1]["/ device"], False)
    return lines, goal, note


class Trainer:
    """Trains a run's epochs, as `dtn_jax.run.train.fit` does between two validations.

    Args:
      source: of the rows, of which there are so many.
    """

    def __init__(self, run: Run, source: ResidentData | StreamedData, rows: int):
        self.run, self.source, self.seed, self.done = run, source, run.config.seed, 0
        self.batch_size = run.config.data.batch_size
        self.steps = steps_per_epoch(run.data.layout, rows, self.batch_size)
        step = make_train_step(run.config, run.model, run.plan, run.total_steps)
        self.advance = jax.jit(make_train_chunk(step, CHUNK_STEPS), donate_argnums=0)
        self.state = jax.jit(lambda: create_state(run.config, run.model, run.plan))()
        huge_pages.use((self.state.tables, self.state.slots))

    def epoch(self) -> float:
        """One more; returns its mean loss, summed over tasks."""
        losses, pending = 0.0, []
        for start in range(0, self.steps, CHUNK_STEPS):
            count = min(CHUNK_STEPS, self.steps - start)
            chunk = self.source.chunk(self.seed, self.done, start, count, self.batch_size)
            chunk = jax.device_put(chunk, self.run.at.chunk())
            self.state, metrics = self.advance(self.state, chunk, count)
            pending.append(metrics["losses"][:count])
            if len(pending) > 1:  # a chunk late, so the host never waits for this one
                losses += float(np.sum(jax.device_get(pending.pop(0))))
        self.done += 1
        return (losses + float(np.sum(jax.device_get(pending.pop())))) / self.steps
