"""What this machine does a second, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.tables import row_optimizers, update_by_search
from dtn_jax.tables.stored_rows import StoredRows
from experiments.benchmarks.large import EXAMPLES, program
from experiments.benchmarks.needs import predict
from experiments.benchmarks.rates import Rates
from experiments.benchmarks.tables import FIELDS

ROUNDS = 5
NETWORK = 25e9 / 8  # bytes/s: a network card of 25 Gb/s, assumed
LATENCY = 100e-6  # seconds of a collective between such machines, assumed
ROWS = 10**6


def measured_rates(quick: bool) -> Rates:
    """This machine's: a matrix product, and a row update of one device's batch (E = 16)."""
    size = 256 if quick else 2048
    a = jnp.ones((size, size))
    product = jax.jit(jnp.dot)
    seconds = median_seconds(lambda: product(a, a).block_until_ready())
    return Rates(
        flops=2 * size**3 / seconds,
        traffic=measured_traffic(20_000 if quick else ROWS),
        network=NETWORK,
        memory=0,
        devices=1024,
        host=1,
        platform="cpu",
        torus=0,
        latency=LATENCY,
        source="product and row update measured here; a network of 25 Gb/s assumed",
    )


def measured_traffic(rows: int) -> float:
    """Bytes/s of a lazy Adam update, counted as `needs` counts them."""
    optimizer = row_optimizers.adam(0.9, 0.999, 1e-8)
    p = program(16, rows, 1, {"model.architecture": "shared_bottom"})
    ids = jnp.asarray(np.random.default_rng(0).integers(0, rows, EXAMPLES * FIELDS), jnp.int32)
    gradient = jnp.ones((len(ids), 16))
    scalars = row_optimizers.Scalars(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32))

    lie = StoredRows(rows, 16)

    def step(table, slots):
        given = ids, gradient, gradient, scalars
        return update_by_search.update(optimizer, lie, table, slots, *given)

    update = jax.jit(step, donate_argnums=(0, 1))
    table = jnp.zeros((rows, 16))
    held = {"state": update(table, optimizer.init(table, lie))}

    def run():
        held["state"] = jax.block_until_ready(update(*held["state"]))

    return predict(p.config, p.model, p.tables, 1).row_traffic / median_seconds(run)


def median_seconds(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
