"""What balancers cost: the time of a training step over that with static weights.

DTN and MMoE with MLP experts, for 2 and for 7 tasks: 20 fields of 1,000 rows, E = 16, batch 1024.
Steps take turns, and ratios are taken turn by turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from dtn_jax.balancing import BALANCERS
from dtn_jax.balancing.balancer import SCOPES
from dtn_jax.config import base_config
from dtn_jax.interface import SHARED, Batch
from dtn_jax.models import build as architectures
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import make_plan
from experiments.benchmarks.measured import Cell, Goal, Measured, Options, ratio, timed_in_turns
from experiments.benchmarks.step import random_chunk

MODELS = {"mmoe": "mlp*8", "dtn": "mlp*2"}
TASKS = (2, 7)
FIELDS, ROWS, DIM, BATCH_SIZE = 20, 1000, 16, 1024
ROUNDS = 20
STATIC = "static"
ALIKE = ("dwa", "rlw", "stch", "fairgrad")  # cost what uncertainty, gls and nash_mtl do
EXAMPLE = "pcgrad"  # of the scope `shared`, which costs the same passes whatever the method
ONCE, A_TASK = 1.1, 0.75  # of the goal, 1.1 + 0.75 T times static
NOTE = "Cells: median over turns of a step's time over that of static weights, in the same turn."


def measure(options: Options) -> Measured:
    cells: dict[str, dict[str, float]] = {}
    goals = []
    for architecture, experts in MODELS.items():
        for tasks in TASKS:
            column = f"{architecture}, {tasks} tasks"
            costs = ratios(architecture, experts, tasks, options.quick)
            for name, cost in costs.items():
                cells.setdefault(name, {})[column] = cost
            slowest = max(cost for name, cost in costs.items() if reads_gradients(name))
            goals.append(Goal(f"{column}, slowest", ONCE + A_TASK * tasks, slowest, at_least=False))
    rows: list[Mapping[str, Cell]] = [{"balancer": name, **row} for name, row in cells.items()]
    return Measured("A training step's time relative to static weights", rows, goals, [NOTE])


def reads_gradients(name: str) -> bool:
    """Whether a row is of a method that reads gradients."""
    return BALANCERS[name.partition(",")[0]].reads_gradients


def ratios(architecture: str, experts: str, tasks: int, quick: bool) -> dict[str, float]:
    """{balancer, with its scope where it is not the usual one: its time over static's}."""
    config = base_config()
    model = config.model
    model.architecture, model.experts, model.embedding_dim = architecture, experts, DIM
    model.expert_dim, model.mlp.hidden, model.tower_hidden = 64, (128,), (64,)
    config.data.batch_size = 64 if quick else BATCH_SIZE
    fields = tuple(Field(f"f{i}", rows=ROWS) for i in range(4 if quick else FIELDS))
    schema = Schema("benchmark", fields, tuple(Task(f"t{i}") for i in range(tasks)))
    batch = jax.tree.map(lambda a: a[0], random_chunk(schema, config.data.batch_size, "zipf"))
    turns = {STATIC: stepping(config, schema, batch, STATIC, SCOPES[0])}
    for name in BALANCERS:
        for scope in SCOPES if name == EXAMPLE else SCOPES[:1]:
            label = name if scope == SCOPES[0] else f"{name}, {scope}"
            if name not in (STATIC, *ALIKE):
                turns[label] = stepping(config, schema, batch, name, scope)
    seconds = timed_in_turns(turns, 3 if quick else ROUNDS)
    after_first = {name: taken[1:] for name, taken in seconds.items()}
    return {name: ratio(taken, after_first[STATIC]) for name, taken in after_first.items()}


def stepping(
    config: ConfigDict, schema: Schema, batch: Batch, name: str, scope: str
) -> Callable[[], float]:
    """A function that takes two steps with a balancer, compiled, and returns the seconds of the
    second: the first one meets memory as another program has left it."""
    own = ConfigDict(config.to_dict())
    own.loss.balancing = name
    if BALANCERS[name].reads_gradients:
        own.loss[name].scope = scope
    plan = make_plan(schema, own.model, (SHARED,), 0)
    model = architectures.build(own.model, schema)
    held = {"state": jax.jit(lambda: create_state(own, model, plan))()}
    step = make_train_step(own, model, plan, total_steps=1000)
    compiled = jax.jit(step, donate_argnums=0).lower(held["state"], batch).compile()

    def advance() -> float:
        for _ in range(2):
            start = time.perf_counter()
            held["state"], metrics = compiled(held["state"], batch)
            jax.block_until_ready((held["state"], metrics))
            took = time.perf_counter() - start
        assert np.isfinite(np.asarray(metrics["losses"])).all()
        return took

    return advance
