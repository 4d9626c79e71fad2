"""The training step on a GPU or TPU: its rate, and its time by table length.

Rates of DTN at the released sizes as in the suite `step`, beside that of a large matrix product of
the same dtype; batches above the released 1024 show how much of the device is left idle there.
Step times of shared_bottom at 0.2 to 200 M table rows as in the suite `tables`.

**It has not run on a GPU or TPU yet.** With --quick it runs on a CPU, at tiny sizes: that shows
that it runs, and measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from dtn_jax.errors import UserError
from experiments.benchmarks.measured import Cell, Goal, Measured, Options, ratio, timed_in_turns
from experiments.benchmarks.step import NOTE, measure_step, released_config
from experiments.benchmarks.tables import ROUNDS, bytes_a_row, table_steps

EXPERTS = ("gdcn+masknet", "gdcn+masknet+hcnet")
BATCHES = (1024, 8192, 32768)
SHARE = 0.40  # of the device's bfloat16 rate, at the released batch
TABLE_ROWS = (200_000, 2_000_000, 20_000_000, 200_000_000)
QUICK_ROWS = (20_000, 40_000)
OPTIMIZERS = ("adam", "adagrad")
IDS = ("zipf", "different")
SLOWER = 1.1  # at most, with the longest table, than with the shortest
SHOWN = ("of", "dtype", "batch", "table rows", "ms a step", "share")


def measure(options: Options) -> Measured:
    """Raises: UserError where there is no accelerator, unless only asked whether it runs."""
    if jax.default_backend() == "cpu" and not options.quick:
        raise UserError("the suite gpu needs a GPU or TPU; JAX sees CPUs alone (extras gpu, tpu)")
    parts: list[tuple[Mapping[str, Cell], list[Goal]]] = [
        *rates(options),
        *(one for optimizer in OPTIMIZERS for one in times(optimizer, options)),
    ]
    # All rows have the columns of all: a cell that a part does not measure is empty.
    empty = dict.fromkeys(key for row, _ in parts for key in row)
    rows = [empty | row for row, _ in parts]
    goals = [goal for _, of_part in parts for goal in of_part]
    return Measured("a training step on this device", rows, goals, [card(), NOTE], SHOWN)


def rates(options: Options) -> Iterator[tuple[Mapping[str, Cell], list[Goal]]]:
    """The share of the device's product rate that DTN's step reaches."""
    for experts in EXPERTS:
        for dtype in ("bfloat16", "float32"):
            for batch_size in (32,) if options.quick else BATCHES:
                config = released_config(experts, dtype, options.quick)
                config.data.batch_size = batch_size
                row = measure_step(config, options)
                goals = []
                if dtype == "bfloat16" and batch_size in (32, BATCHES[0]):
                    name = f"{experts}, bfloat16, batch {batch_size}, share of the product rate"
                    goals = [Goal(name, SHARE, row["share"])]
                place = {"of": f"dtn, {experts}", "dtype": dtype, "batch": batch_size}
                per_second = 1e3 * batch_size / row["ms a step"]
                yield place | {"ms a step": row["ms a step"], "examples/s": per_second} | row, goals


def times(optimizer: str, options: Options) -> Iterator[tuple[Mapping[str, Cell], list[Goal]]]:
    """The step's time in the compiled loop, which rows that no batch touches should not change."""
    sizes = QUICK_ROWS if options.quick else fitting(bytes_a_row(optimizer), memory())
    steps = {rows: table_steps(rows, optimizer) for rows in sizes}
    timers = {(ids, rows): steps[rows][ids, "loop"] for ids in IDS for rows in sizes}
    seconds = timed_in_turns(timers, 2 if options.quick else ROUNDS)
    for ids, rows in timers:
        goals = []
        if rows == sizes[-1]:
            slower = ratio(seconds[ids, rows], seconds[ids, sizes[0]])
            name = f"{optimizer}, {ids} ids, {rows / 1e6:g} M rows / {sizes[0] / 1e6:g} M"
            goals = [Goal(name, SLOWER, slower, at_least=False)]
        what = f"shared_bottom, {optimizer}, {ids} ids"
        median = 1e3 * float(np.median(seconds[ids, rows]))
        yield {"of": what, "table rows": rows, "ms a step": median}, goals


def fitting(row: int, limit: float) -> Sequence[int]:
    """The table lengths that fit into `limit` bytes together, with rows of `row` bytes.

    The longest counts twice, for what its initialisation needs. At least the shortest is kept.
    """
    fits = [n for i, n in enumerate(TABLE_ROWS) if row * (sum(TABLE_ROWS[: i + 1]) + n) <= limit]
    return fits or TABLE_ROWS[:1]


def memory() -> float:
    """Bytes that JAX may use on the device; infinite where it does not tell."""
    return (jax.devices()[0].memory_stats() or {}).get("bytes_limit", float("inf"))


def card() -> str:
    """The device in words: what a reader of the figures must know of it."""
    device = jax.devices()[0]
    words = [f"{len(jax.devices())} x {device.device_kind}, of which one is used"]
    if np.isfinite(memory()):
        words.append(f"{memory() / 1e9:.1f} GB for JAX")
    return "; ".join([*words, " ".join(device.client.platform_version.split())]) + "."
