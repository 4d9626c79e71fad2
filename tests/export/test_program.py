"""The exported program gives the logits of the training code's scoring step, or narrower ones."""

import dataclasses
import functools
from typing import NamedTuple

import every_field
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import batch_of
from every_field import EMBEDDED, NUMBERS, SLOTS
from made_models import read_by_program
from safetensors.numpy import load_file
from toy_steps import config

from dtn_jax.export.write.model import with_tasks
from dtn_jax.export.write.program import Forward, export_program, named, quantised, write_weights
from dtn_jax.interface import Batch
from dtn_jax.losses import LOSSES, read_losses
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.losses.d2q import D2Q
from dtn_jax.losses.log_normal import LogNormal
from dtn_jax.losses.ordinal import Ordinal
from dtn_jax.losses.weighted_logistic import WeightedLogistic
from dtn_jax.losses.ziln import ZILN
from dtn_jax.models import build as architectures
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS, parse_experts
from dtn_jax.models.histories import HISTORIES
from dtn_jax.run.run import build_model
from dtn_jax.run.state import State, create_state
from dtn_jax.run.step import make_score_step
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import TablePlan, make_plan

pytestmark = pytest.mark.usefixtures("quick_to_compile")

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


@functools.cache
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
    weights = rng.random((size, schema.weighted_slots)).astype(np.float32)
    numeric = rng.normal(size=(size, schema.numbers)).astype(np.float32)
    labels = np.zeros((size, len(schema.tasks)), np.float32)
    return batch_of(ids, labels, weights=weights, numeric=numeric)


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
        return np.asarray(
            call(weights, read_by_program(given, plan.offsets, plan.used["embedding"]))
        )

    return logits, weights


OF_PAIRS = (
    "fm+deepfm+fwfm+pnn+fibinet+cin+afn+final+finalmlp+autoint+transformer+token_mixing+wukong"
)
SLOW = [
    ("shared_bottom", {"experts": OF_PAIRS}),
    ("infnet", {}),
    ("dtn", {}),
    ("stem", {"optim__table_dtype": "bfloat16"}),  # two views and more
    ("dtn", {"model__dtn__own_embeddings": True}),
]
NIGHTLY = [
    ("dtn", {"model__fusion": "released", "model__normalisation": "batch"}),
    ("mmoe", {"model__dtype": "bfloat16", "model__normalisation": "layer"}),
    *(
        # Of most draws the logits of infnet hardly depend on the row.
        (name, {"model__normalisation": "batch", "seed": 2 if name == "infnet" else 0})
        for name in sorted(ARCHITECTURES)
    ),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def test_logits_are_those_of_the_scoring_step(path):
    model = drawn(experts="mlp+hcnet")
    logits, _ = exported(model.forward(), [model], path)
    for size in (1, 3):
        given = batch(size, seed=size)
        np.testing.assert_allclose(logits(given), model.expected(given), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "dtype", "way"),
    [
        ("dtn", "float32", "din"),
        pytest.param("stem", "bfloat16", "", marks=pytest.mark.slow),
        *(pytest.param("dtn", "float32", way, marks=pytest.mark.slow) for way in HISTORIES),
    ],
)
def test_fields_of_every_kind_go_with_it(path, architecture, dtype, way):
    """Embedded numbers of all views, missing ones too; histories and what stands beside items."""
    options = {"model__dtype": dtype, "model__histories": way, "model__embedding_dim": 4}
    model = drawn(architecture, "mlp", schema=every_field.SCHEMA, **options)
    logits, _ = exported(model.forward(), [model], path)
    given = every_field.batch(50, dtype=np.float32).replace(row_mask=np.ones(50, bool))
    found = logits(given)
    np.testing.assert_allclose(found, model.expected(given), rtol=1e-6, atol=1e-6)
    for name in (*EMBEDDED, "rate"):
        numeric = given.numeric.copy()
        numeric[:, NUMBERS[name]] += 1
        moved = np.abs(logits(given.replace(numeric=numeric)) - found).max(axis=1) > 0
        known = given.ids[:, SLOTS[name].start] == 1
        assert moved[known].any()
        assert (name in EMBEDDED) != moved[~known].any()  # or the value scales row 0
    for name, other in (("viewed", -1), ("gap", 0)):
        ids = given.ids.copy()
        ids[:, SLOTS[name]] = np.where(ids[:, SLOTS[name]] < 0, -1, other)
        assert np.abs(logits(given.replace(ids=ids)) - found).max() > 1e-3


def test_the_matrix_has_all_experts():
    assert {*parse_experts(ALL_EXPERTS), *parse_experts(OF_PAIRS)} == set(EXPERTS)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in NIGHTLY),
    ],
)
def test_all_architectures_with_all_experts(path, architecture, changes):
    model = drawn(architecture, **changes)
    logits, _ = exported(model.forward(), [model], path)
    given = batch(1000)
    expected = model.expected(given)
    assert expected.std(axis=0).min() > 0.01
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(logits(given), expected, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("dtype", ["int8", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_narrower_tables_are_the_nearest_numbers(path, dtype):
    model = drawn(experts="mlp+hcnet")
    logits, weights = exported(model.forward(dtype), [model], path)
    tables = {}
    for name, rows in model.plan.used.items():
        stored, table = weights[f"tables/{name}"], np.asarray(model.state.tables[name])
        lie = model.plan.arrays[name]
        exact = lie.to_rows(table)
        assert stored.dtype == jnp.dtype(dtype)
        got = stored.astype(np.float32)
        if dtype == "int8":
            scale = weights[f"tables/{name}.scale"]
            got = got * scale
            error = np.abs(exact[:rows] - got) / scale
            assert 0.45 < error.max() < 0.5001
        else:
            error = np.abs(got / exact[:rows] - 1)
            assert 2**-10 < error.max() <= 2**-8
        tables[name] = lie.to_lines(np.concatenate([got, exact[rows:]]))
    given = batch(50)
    narrow = model._replace(state=model.state.replace(tables=tables)).expected(given)
    np.testing.assert_allclose(logits(given), narrow, rtol=0, atol=1e-6)
    assert np.abs(model.expected(given) - narrow).max() > 1e-4


def test_a_row_of_zeros_stays_zero():
    rows = np.array([[0, 0], [-3e-38, 1e-38], [1, -254]], np.float32)
    steps, scales = quantised(rows)
    np.testing.assert_array_equal(steps[[0, 2]], [[0, 0], [0, -127]])  # 0.5 is rounded to even
    assert scales[0] == 0
    assert np.isfinite(scales).all()


def test_tasks_come_with_those_that_they_need():
    schema = Schema(
        "graph",
        (Field("user"),),
        (
            Task("like"),
            Task("order", space="cart", also_report=("click",)),
            Task("stars", "regression", upstream=("like",)),
            Task("cart", space="click", upstream=("click",)),
            Task("click"),
        ),
    )
    assert with_tasks(schema, ()) == schema
    assert with_tasks(schema, ["order"]).task_names == ("order", "cart", "click")
    assert with_tasks(schema, ["stars"]).task_names == ("like", "stars")
    assert with_tasks(schema, ["click"]).task_names == ("click",)


QUANTILES = tuple((age - 3.0, age + 1.0, age * 7.0 + 9) for age in range(5))
TIMED = (*SCHEMA.tasks[:2], dataclasses.replace(SCHEMA.tasks[2], quantiles=QUANTILES))
AGE = [field.name for field in SCHEMA.slot_fields()].index("age")
MEANT = {
    "log_normal": LogNormal(),
    "weighted_logistic": WeightedLogistic(),
    "ordinal": Ordinal(),
    "d2q": D2Q(field="age", quantiles=3, points=QUANTILES),
    "ziln": ZILN(),
}


@pytest.mark.parametrize(
    "name",
    ["d2q", "ziln", *(pytest.param(n, marks=pytest.mark.slow) for n in [*MEANT][:-2])],
)
def test_scores_are_in_the_labels_unit(path, name):
    plain = drawn("shared_bottom", "mlp")
    options = {"loss__tasks": f"stars={name}", "loss__d2q__field": "age"}
    schema = dataclasses.replace(SCHEMA, tasks=TIMED)
    model = drawn("shared_bottom", "mlp", schema=schema, **options)
    logits, _ = exported(model.forward(), [model], path)
    given = batch(50)
    found, z = logits(given), plain.expected(given)
    np.testing.assert_allclose(found, model.expected(given), rtol=1e-6, atol=1e-6)
    if name == "ziln":  # its tower gives three numbers, so that the drawn weights are others
        assert (found[:, 2] > 0).all()
        assert np.ptp(found[:, 2]) > 0.5
        return
    np.testing.assert_array_equal(found[:, :2], z[:, :2])
    read = (jnp.asarray(given.ids[:, AGE]),) if hasattr(MEANT[name], "reads") else ()
    meant = MEANT[name].prediction(jnp.asarray(z[:, 2]), *read)
    np.testing.assert_allclose(found[:, 2], meant, rtol=1e-6, atol=1e-6)
    assert np.abs(found[:, 2] - z[:, 2]).max() > 0.5


def test_every_loss_with_a_meaning_of_its_own_is_tried():
    assert set(MEANT) == {name for name, loss in LOSSES.items() if hasattr(loss, "prediction")}


@pytest.mark.slow
def test_an_ensemble_gives_the_mean_in_the_labels_unit(path):
    """The mean of seconds, not the seconds of a mean logarithm."""
    options = {"loss__tasks": "stars=log_normal"}
    members = [drawn("shared_bottom", "mlp", seed=seed, **options) for seed in range(2)]
    forward = members[0].forward(members=2)
    logits, _ = exported(forward, members, path)
    given = batch(50)
    each = np.stack([member.expected(given)[:, 2] for member in members])
    np.testing.assert_allclose(logits(given)[:, 2], each.mean(axis=0), rtol=1e-5, atol=1e-6)
