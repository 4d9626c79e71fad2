"""The training step of DTN at the released run's sizes: its share of the machine's product rate.

E = 64, 23 fields, batch 1024, 2.1 M table rows, row update included. FLOPs are 3 times the forward
matrix products counted by dtn_jax.models.flops; the machine's own rate is that of one large matrix
product, measured between the steps of the same run. Memory is the compiled program's own account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.config import base_config
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.models import flops
from dtn_jax.parallel.memory import bytes_of
from dtn_jax.run.state import create_state, example_inputs
from dtn_jax.run.step import make_train_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import huge_pages
from dtn_jax.tables.plan import TablePlan, make_plan
from experiments.benchmarks.measured import Cell, Goal, Measured, Options, timed_in_turns

BATCH_SIZE = 1024  # the released one
FIELDS, PAIRED = 23, 17  # 17 fields form HCNet's pairs
PRODUCTS = 4  # matrix products that are timed together
ROWS = 2_100_000
EXPERTS = {
    "gdcn+masknet": 0.80,  # the goal: a share of the machine's rate
    "gdcn+masknet+hcnet": 0.65,
    "hcnet": None,
}
PRODUCT_SIZE = 2048
ACCELERATOR_PRODUCT_SIZE = 8192  # smaller ones leave a part of it idle
ROUNDS = 7
IDS = ("zipf", "different", "equal")
ZIPF = 1.1  # the exponent
COMPILE_SECONDS = 20.0
RESIDUALS = 1.3  # what a step's peak may hold of JAX's saved residuals, beside the state
NOTE = (
    "share: FLOP/s of the step over those of one large matrix product. peak: bytes of the step's "
    "temporaries over the bytes of JAX's saved residuals."
)


def measure(options: Options) -> Measured:
    rows, goals = [], []
    for experts, goal in EXPERTS.items():
        row = measure_step(released_config(experts, "float32", options.quick), options)
        rows.append({"experts": experts, **row})
        if goal:
            goals.append(Goal(f"{experts}, share of the product rate", goal, row["share"]))
        goals.append(Goal(f"{experts}, first step s", COMPILE_SECONDS, row["first step s"], False))
        goals.append(Goal(f"{experts}, peak residuals", RESIDUALS, row["peak"], False))
    title = "a training step of DTN at the released sizes (E = 64, 23 fields, batch 1024), float32"
    return Measured(title, rows, goals, [NOTE])


def released_config(experts: str, dtype: str, quick: bool) -> ConfigDict:
    """The sizes of the run that DTN's authors released (Ali-CCP, MaskNet + MemoNet + GDCN)."""
    config = base_config()
    config.data.batch_size = BATCH_SIZE
    model = config.model
    model.architecture, model.experts = "dtn", experts
    model.embedding_dim, model.expert_dim = 64, 256
    model.tower_hidden, model.normalisation = (128, 64), "batch"
    model.masknet.hidden = (256,)
    model.hcnet.codebook_rows = 100_000
    model.hcnet.fields = tuple(f"f{i}" for i in range(PAIRED))
    model.dtype = dtype
    if quick:
        config.data.batch_size, model.embedding_dim = 32, 4
        model.hcnet.codebook_rows = 100
    return config


def built(config: ConfigDict, quick: bool) -> tuple[nn.Module, TablePlan]:
    """The model of such a config, and its tables, for click and order."""
    rows = 23_000 if quick else ROWS
    fields = tuple(Field(f"f{i}", rows=rows // FIELDS) for i in range(FIELDS))
    tasks = (Task("click"), Task("order", upstream=("click",)))
    schema = Schema("benchmark", fields, tasks)
    codebooks = architectures.codebooks(config.model, schema)
    plan = make_plan(schema, config.model, ("shared",), codebooks)
    return architectures.build(config.model, schema), plan


def measure_step(config: ConfigDict, options: Options) -> Mapping[str, Cell]:
    model, plan = built(config, options.quick)
    batch = jax.tree.map(lambda a: a[0], random_chunk(plan.schema, config.data.batch_size, "zipf"))
    state = jax.jit(lambda: create_state(config, model, plan))()
    huge_pages.use((state.tables, state.slots))
    size = flops.count(model, jax.eval_shape(lambda: example_inputs(plan)))
    work = 3 * size.flops_per_example * config.data.batch_size

    start = time.perf_counter()
    step = make_train_step(config, model, plan, total_steps=1000)
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    state, _ = jax.block_until_ready(compiled(state, batch))
    first_step = time.perf_counter() - start
    held = {"state": state}

    def advance():
        held["state"], metrics = compiled(held["state"], batch)
        jax.block_until_ready((held["state"], metrics))

    size = PRODUCT_SIZE if jax.default_backend() == "cpu" else ACCELERATOR_PRODUCT_SIZE
    product, product_flops = large_product(model.dtype, 64 if options.quick else size)
    turns = {"step": advance, "product": product}
    seconds = timed_in_turns(turns, 2 if options.quick else ROUNDS)
    rates = work / seconds["step"], product_flops / seconds["product"]
    residuals = saved_bytes(model, plan) * config.data.batch_size
    temporaries = compiled.memory_analysis().temp_size_in_bytes
    return {
        "ms a step": 1e3 * float(np.median(seconds["step"])),
        "GFLOP/s": float(np.median(rates[0])) / 1e9,
        "product GFLOP/s": float(np.median(rates[1])) / 1e9,
        "share": float(np.median(rates[0] / rates[1])),
        "first step s": first_step,
        "temporaries MB": temporaries / 1e6,
        "residuals MB": residuals / 1e6,
        "peak": temporaries / residuals,
    }


def large_product(dtype, size: int) -> tuple[Callable[[], None], float]:
    """A function that makes matrix products, and the FLOPs that it does."""
    a = jnp.ones((size, size), dtype)
    multiply = jax.jit(lambda a, b: a @ b)
    multiply(a, a).block_until_ready()

    def run():
        for _ in range(PRODUCTS):
            multiply(a, a).block_until_ready()

    return run, PRODUCTS * 2 * size**3


def saved_bytes(model: nn.Module, tables: TablePlan) -> int:
    """Bytes an example of what JAX saves in the forward pass for the backward pass."""

    def saved(rows: int) -> int:
        inputs = jax.eval_shape(lambda: example_inputs(tables, rows))
        key = jax.eval_shape(lambda: jax.random.key(0))
        variables = jax.eval_shape(lambda k, i: model.init(k, i, train=False), key, inputs)

        def residuals(variables, inputs, key):
            def outputs(params, fields, codewords):
                given = inputs.replace(fields=fields, codewords=codewords)
                rest = {"train": True, "rngs": {"dropout": key}, "mutable": ["batch_stats"]}
                computed, _ = model.apply({**variables, "params": params}, given, **rest)
                return computed.logits, computed.aux

            return jax.vjp(outputs, variables["params"], inputs.fields, inputs.codewords)[1]

        return bytes_of(jax.eval_shape(residuals, variables, inputs, key))

    return (saved(16) - saved(8)) // 8  # parameters are among them: those don't grow


def random_chunk(schema: Schema, batch_size: int, ids: str) -> Batch:
    """A chunk of random examples; `ids` is one of IDS."""
    rng = np.random.default_rng(0)
    shape = (CHUNK_STEPS, batch_size)
    limits = np.asarray([f.rows for f in schema.fields])
    tasks = len(schema.tasks)
    drawn = rng.random((*shape, len(limits)))
    if ids == "zipf":  # P(id >= k) falls as k^(1 - a), bounded to the table
        drawn = ((limits.astype(float) ** (1 - ZIPF) - 1) * drawn + 1) ** (1 / (1 - ZIPF)) - 1
        drawn = drawn / limits
    if ids == "equal":
        drawn = np.zeros_like(drawn)
    return Batch(
        ids=jnp.asarray(np.minimum(drawn * limits, limits - 1), jnp.int32),
        weights=jnp.zeros((*shape, 0)),
        numeric=jnp.zeros((*shape, 0)),
        labels=jnp.asarray(rng.random((*shape, tasks)) < 0.2, jnp.float32),
        label_mask=jnp.ones((*shape, tasks), bool),
        sample_weight=jnp.ones(shape),
        row_mask=jnp.ones(shape, bool),
    )
