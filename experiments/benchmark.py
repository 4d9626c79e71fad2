"""Measures, beside a reference in the same process, and prints a table.

Suite `tables`: the time of a training step of shared_bottom (E = 16, 23 fields) at 0.2, 2 and 20
million table rows, inside the compiled loop over a chunk and outside of it. A step touches only
the rows of its batch, so the times should be equal; what differs is how often memory has them at
hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import rich
import rich.table

from configs import base
from dtn_jax import architectures, huge_pages
from dtn_jax.embedding import make_plan
from dtn_jax.input_pipeline import CHUNK_STEPS, Batch
from dtn_jax.schema import Field, Schema, Task, choose
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from experiments import command

EXAMPLE = "python -m experiments.benchmark --suite=tables"
FIELDS = 23
TABLE_ROWS = (200_000, 2_000_000, 20_000_000)
IDS = ("zipf", "uniform")
ZIPF = 1.1  # the exponent
ROUNDS = 41  # timed rounds; sizes take turns, so that a slow moment meets them all


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--suite", help=f"one of: {', '.join(SUITES)}")
    parser.add_argument("--tables", default="adagrad", help="row optimizer of suite tables")
    parser.add_argument("--ids", default="zipf", help=f"of suite tables: {' or '.join(IDS)}")
    known = parser.parse_args(arguments)
    SUITES[choose("suite", known.suite or "", SUITES)](known)


def tables(known) -> None:
    """Step time by table rows."""
    sizes = TABLE_ROWS
    choose("ids", known.ids, IDS)
    timers: dict[tuple[str, int], Callable[[], float]] = {}
    for rows in sizes:
        for how, timer in table_steps(rows, known.tables, known.ids).items():
            timers[how, rows] = timer
    times: dict[tuple[str, int], list[float]] = {key: [] for key in timers}
    for _ in range(ROUNDS):
        for key, timer in timers.items():
            times[key].append(timer())
    shown = rich.table.Table(
        title=f"ms a step, median of {ROUNDS}: shared_bottom, {known.tables}, {known.ids} ids"
    )
    for column in ("table rows", "in the loop", "ratio", "single steps", "ratio"):
        shown.add_column(column, justify="right")
    median = {key: float(np.median(t)) * 1e3 for key, t in times.items()}
    for rows in sizes:
        cells = [f"{rows:,}"]
        for how in ("loop", "single"):
            ratio = np.median(np.divide(times[how, rows], times[how, sizes[0]]))  # of one round
            cells += [f"{median[how, rows]:.1f}", f"{ratio:.2f}"]
        shown.add_row(*cells)
    rich.print(shown)


def table_steps(rows: int, optimizer: str, ids: str) -> dict[str, Callable[[], float]]:
    """Per way of stepping, a function that makes steps and returns seconds a step."""
    config = base.get_config()
    config.model.architecture, config.model.experts = "shared_bottom", "mlp"
    config.optim.tables = optimizer
    fields = tuple(Field(f"f{i}", rows=rows // FIELDS) for i in range(FIELDS))
    schema = Schema("benchmark", fields, (Task("click"), Task("order")))
    model = architectures.build(config.model, schema)
    plan = make_plan(schema, config.model, ("shared",), 0)
    step = make_train_step(config, model, plan, total_steps=1000)
    chunk = random_chunk(schema, config.data.batch_size, ids)
    first = jax.tree.map(lambda a: a[0], chunk)
    state = jax.jit(lambda: create_state(config, model, plan))()
    huge_pages.use((state.tables, state.slots))
    loop = jax.jit(make_train_chunk(step, CHUNK_STEPS), donate_argnums=0)
    single = jax.jit(step, donate_argnums=0)
    state, _ = loop(state, chunk, CHUNK_STEPS)
    state, _ = single(state, first)
    held = {"state": state}  # both ways donate and replace the one state

    def timed(advance, steps):
        start = time.perf_counter()
        for _ in range(1 if advance is loop else steps):
            given = (chunk, CHUNK_STEPS) if advance is loop else (first,)
            held["state"], metrics = advance(held["state"], *given)
        jax.block_until_ready((held["state"], metrics))
        return (time.perf_counter() - start) / steps

    return {
        "loop": lambda: timed(loop, CHUNK_STEPS),
        "single": lambda: timed(single, 4),
    }


def random_chunk(schema: Schema, batch_size: int, ids: str) -> Batch:
    """A chunk of ids as logs have them (`zipf`), or with hardly any repeats (`uniform`).

    Uniform ids are the dearest case: on a long table nearly each is a cache miss.
    """
    rng = np.random.default_rng(0)
    shape = (CHUNK_STEPS, batch_size)
    limits = np.asarray([f.rows for f in schema.fields])
    tasks = len(schema.tasks)
    drawn = rng.random((*shape, len(limits)))
    if ids == "zipf":  # P(id >= k) falls as k^(1 - a), bounded to the table
        drawn = ((limits.astype(float) ** (1 - ZIPF) - 1) * drawn + 1) ** (1 / (1 - ZIPF)) - 1
        drawn = drawn / limits
    return Batch(
        ids=jnp.asarray(np.minimum(drawn * limits, limits - 1), jnp.int32),
        numeric=jnp.zeros((*shape, 0)),
        labels=jnp.asarray(rng.random((*shape, tasks)) < 0.2, jnp.float32),
        label_mask=jnp.ones((*shape, tasks), bool),
        sample_weight=jnp.ones(shape),
        row_mask=jnp.ones(shape, bool),
    )


SUITES = {"tables": tables}

if __name__ == "__main__":
    command.run(main)
