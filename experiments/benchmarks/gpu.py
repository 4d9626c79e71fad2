"""The training step on a GPU or TPU: its rate, its time by table length, whether bits repeat.

Rates of DTN at the released sizes as in the suite `step`, beside that of a large matrix product of
the same dtype; batches above the released 1024 show how much of the device is left idle there.
Step times of shared_bottom at 0.2 to 200 M table rows as in the suite `tables`. Whether 20 steps of
DTN, made twice from one state, end with the same bits, and how far from the CPU's they end.

It needs jax, flax, optax, orbax-checkpoint, numpy and ml-collections alone, and a clone.

**It has not run on a GPU or TPU yet.** With --quick it runs on a CPU, at tiny sizes: that shows
that it runs, and measures nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.errors import UserError
from dtn_jax.run.state import State, create_state
from dtn_jax.run.step import make_train_chunk, make_train_step
from experiments.benchmarks.measured import Cell, Goal, Measured, Options, ratio, timed_in_turns
from experiments.benchmarks.step import NOTE, built, measure_step, random_chunk, released_config
from experiments.benchmarks.tables import ROUNDS, bytes_a_row, table_steps

EXPERTS = ("gdcn+masknet", "gdcn+masknet+hcnet")
BATCHES = (1024, 8192, 32768)
SHARE = 0.40  # of the device's bfloat16 rate, at the released batch
TABLE_ROWS = (200_000, 2_000_000, 20_000_000, 200_000_000)
QUICK_ROWS = (20_000, 40_000)
OPTIMIZERS = ("adam", "adagrad")
IDS = ("zipf", "different")
SLOWER = 1.1  # at most, with the longest table, than with the shortest
REPEATED = 20  # steps
FAR = 1e-2  # of the largest number of an array, after that many steps of Adam
SHOWN = (
    "of",
    "dtype",
    "batch",
    "table rows",
    "ms a step",
    "share",
    "arrays that differ",
    "distance",
)


def measure(options: Options) -> Measured:
    """Raises: UserError where there is no accelerator, unless only asked whether it runs."""
    if jax.default_backend() == "cpu" and not options.quick:
        raise UserError("the suite gpu needs a GPU or TPU; JAX sees CPUs alone (extras gpu, tpu)")
    found: list[tuple[Mapping[str, Cell], list[Goal]]] = [
        *rates(options),
        *(one for optimizer in OPTIMIZERS for one in times(optimizer, options)),
        *repetition(options),
    ]
    # All rows have the columns of all: a cell that a part does not measure is empty.
    empty = dict.fromkeys(key for row, _ in found for key in row)
    rows = [empty | row for row, _ in found]
    goals = [goal for _, own in found for goal in own]
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
                own = {"of": f"dtn, {experts}", "dtype": dtype, "batch": batch_size}
                per_second = 1e3 * batch_size / row["ms a step"]
                yield own | {"ms a step": row["ms a step"], "examples/s": per_second} | row, goals


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


def repetition(options: Options) -> Iterator[tuple[Mapping[str, Cell], list[Goal]]]:
    """Whether the same steps give the same bits: by one program twice, and by one compiled anew.

    A compiler that chooses kernels by measurement may choose others when it compiles anew. It
    does so here unless $JAX_COMPILATION_CACHE_DIR hands it the old program.
    """
    config = released_config("gdcn+masknet", "float32", options.quick)
    first, second = repeated(config, options.quick, 2)
    jax.clear_caches()
    (anew,) = repeated(config, options.quick, 1)
    for name, other in (("the same program", second), ("compiled anew", anew)):
        count = differing(first, other)
        what = f"dtn, {REPEATED} steps again, {name}"
        goal = Goal(f"{what}: arrays that differ", 0, count, at_least=False)
        yield {"of": what, "arrays that differ": count}, [goal]
    with jax.default_matmul_precision("highest"):  # of float32, as the CPU's
        (here,) = repeated(config, options.quick, 1)
        with jax.default_device(jax.devices("cpu")[0]):
            (cpus,) = repeated(config, options.quick, 1)
    what = f"dtn, {REPEATED} steps, beside a CPU's"
    far = distance(here, cpus)
    row = {"of": what, "arrays that differ": differing(here, cpus), "distance": far}
    yield row, [Goal(f"{what}: largest distance", FAR, far, at_least=False)]


def repeated(config: ConfigDict, quick: bool, times: int) -> list[State]:
    """The states after REPEATED steps from one and the same first state, on the host."""
    model, plan = built(config, quick)
    step = make_train_step(config, model, plan, total_steps=1000)
    loop = jax.jit(make_train_chunk(step, CHUNK_STEPS), donate_argnums=0)
    create = jax.jit(lambda: create_state(config, model, plan))
    chunk = random_chunk(plan.schema, config.data.batch_size, "zipf")

    def last() -> State:
        state, done = create(), 0
        while done < REPEATED:
            count = min(CHUNK_STEPS, REPEATED - done)
            state, _ = loop(state, chunk, count)
            done += count
        return jax.device_get(state.replace(key=None))

    return [last() for _ in range(times)]


def differing(one: State, other: State) -> int:
    """How many arrays of two states differ in any bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return sum(np.asarray(a).tobytes() != np.asarray(b).tobytes() for a, b in pairs)


def distance(one: State, other: State) -> float:
    """The largest difference of two parameters or rows, over the largest number of their array."""
    arrays = [jax.tree.leaves((state.params, state.tables)) for state in (one, other)]
    with np.errstate(divide="ignore", invalid="ignore"):  # nan where an array has one
        far = [
            np.abs(a - b).max() / np.abs(b).max()
            for a, b in zip(*arrays, strict=True)
            if a.any() or b.any()
        ]
    return float(np.max(far))


def card() -> str:
    """The device in words: what a reader of the figures must know of it."""
    device = jax.devices()[0]
    told = [f"{len(jax.devices())} x {device.device_kind}, of which one is used"]
    if capability := getattr(device, "compute_capability", ""):
        told.append(f"compute capability {capability}")
    if np.isfinite(memory()):
        told.append(f"{memory() / 1e9:.1f} GB for JAX")
    told.append(" ".join(device.client.platform_version.split()))
    told.append(f"XLA_FLAGS={os.environ.get('XLA_FLAGS', '')!r}")
    return "; ".join(told) + "."
