"""Models of every architecture with random states, on fields of every kind; nothing is trained."""

from typing import NamedTuple

import jax
import numpy as np
from safetensors.numpy import load_file
from toy_steps import config

from dtn_jax.export.write.program import Forward, export_program, named, write_weights
from dtn_jax.interface import Batch
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.models import build as architectures
from dtn_jax.run.run import build_model
from dtn_jax.run.state import State, create_state
from dtn_jax.run.step import make_score_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import TablePlan, make_plan

ALL_EXPERTS = "mlp*2+gdcn+masknet+hcnet+dcnv2"
SCHEMA = Schema(
    "kinds",
    (
        Field("user", rows=12, role="scenario"),
        Field("words", "bag", rows=9, slots=3, pooling="mean", weighted=True),
        Field("tags", "bag", rows=9, table="words", slots=2, pooling="max"),
        Field("age", "numeric", rows=5),
        Field("price", "numeric", rows=2, standardised=True),
        Field("image/text 1.0", "vector", rows=2, length=4),
        Field("item", rows=30, role="prior"),
    ),
    (
        Task("click"),
        Task("order", also_report=("click",), upstream=("click",)),
        Task("stars", "regression"),
    ),
)


class Drawn(NamedTuple):
    """A model, and a random state as a run on a CPU has it."""

    model: object
    plan: TablePlan
    state: State
    losses: tuple[TaskLoss, ...]

    def expected(self, batch: Batch) -> np.ndarray:
        score = make_score_step(self.model, self.plan, self.losses)
        return np.asarray(jax.jit(score)(self.state, batch))

    def forward(self, table_dtype="", tasks=(), members=1) -> Forward:
        own = "bfloat16" if self.state.tables["embedding"].dtype == np.uint16 else "float32"
        tasks = tasks or self.plan.schema.task_names
        return Forward(self.model, self.plan, tasks, self.losses, table_dtype or own, members)


def drawn(architecture="dtn", experts=ALL_EXPERTS, seed=0, schema=SCHEMA, **changes) -> Drawn:
    c = config(model__architecture=architecture, model__experts=experts, **changes)
    c.model.masknet.block_dim, c.model.masknet.mask_hidden, c.model.masknet.hidden = 4, 3, (4,)
    c.model.hcnet.codebook_rows, c.model.mlp.hidden = 50, (6,)
    model = build_model(c, schema)
    views = architectures.views(c.model, schema)
    plan = make_plan(schema, c.model, views, architectures.codebooks(c.model, schema))
    shapes = jax.eval_shape(lambda: create_state(c, model, plan))
    rng = np.random.default_rng(seed)

    def draw(path, a):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.random.key(seed)
        if a.dtype == np.uint16:  # the bits of bfloat16
            return (rng.normal(size=a.shape).astype(np.float32).view(np.uint32) >> 16).astype("u2")
        values = rng.normal(scale=0.5, size=a.shape)
        if getattr(path[-1], "key", "") == "var":
            values = values**2 + 0.5
        return np.asarray(values, a.dtype)

    state = jax.tree_util.tree_map_with_path(draw, shapes.to_score())
    return Drawn(model, plan, state, read_losses(c.loss, schema))


def batch(size: int, seed=0, schema=SCHEMA) -> Batch:
    """Random rows: bags of no and of a few ids, missing vectors and numbers."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([f.rows for f in schema.slot_fields()])
    ids = rng.integers(0, limits, (size, schema.slots)).astype(np.int32)
    bags = np.asarray([f.kind == "bag" for f in schema.slot_fields()])
    ids[(rng.random(ids.shape) < 0.5) & bags[None]] = -1
    return Batch(
        ids=ids,
        weights=rng.random((size, schema.weighted_slots)).astype(np.float32),
        numeric=rng.normal(size=(size, schema.numbers)).astype(np.float32),
        labels=np.zeros((size, len(schema.tasks)), np.float32),
        label_mask=np.ones((size, len(schema.tasks)), bool),
        sample_weight=np.ones(size, np.float32),
        row_mask=np.ones(size, bool),
    )


def exported(forward: Forward, members: list[Drawn], path):
    """`batch -> logits` of the program, and its weights, both as a file holds them."""
    program, shapes = export_program(forward)
    dense, tables = {}, {}
    for i, member in enumerate(members):
        own = named("params", member.state.params)
        own |= named("model_state", member.state.model_state)
        dense |= {forward.prefix(i) + name: leaf for name, leaf in own.items()}
        for name, rows in forward.plan.used.items():
            lie = forward.plan.arrays[name]
            whole = lie.to_rows(np.asarray(member.state.tables[name]))[:rows]
            pieces = np.split(whole, [7, 8 + i])
            tables.setdefault(f"tables/{name}", []).append(pieces)
    write_weights(path, shapes, dense, tables)
    call = jax.jit(jax.export.deserialize(bytearray(program)).call)
    weights, plan = load_file(path), forward.plan

    def logits(given: Batch) -> np.ndarray:
        ids, offsets = given.ids, np.asarray(plan.offsets, np.int32)
        rows = np.where(ids[:, None] < 0, plan.used["embedding"], ids[:, None] + offsets[None])
        inputs = {"ids": ids, "rows": rows.astype(np.int32)}
        inputs |= {"weights": given.weights, "numeric": given.numeric}
        return np.asarray(call(weights, inputs))

    return logits, weights
