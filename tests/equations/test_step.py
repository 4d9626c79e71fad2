"""One step against its parts, and that every option of training is felt."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import program
from toy_steps import SCHEMA, STEPS, B, batches, build, config, first_state, leaves, placed_run, run

from dtn_jax.errors import UserError
from dtn_jax.losses import read_losses
from dtn_jax.losses.rows import make_weights
from dtn_jax.run.optimizers import apply_dense, hyper, schedule
from dtn_jax.run.state import create_state, read_numbers
from dtn_jax.run.step import make_score_step, make_train_chunk, make_train_step
from dtn_jax.tables import lookup
from dtn_jax.tables.exchange import look_ups
from dtn_jax.tables.updater import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("quick_to_compile")

BASE = {  # whose numbers may be others in the same program
    "model__architecture": "shared_bottom",  # that is quick to trace
    "model__dropout": 0.1,
    "model__embedding_dropout": 0.1,
}


class Base(NamedTuple):
    """A model, its tables' plan, and programs: of its first state from the config's numbers, of a
    step, and of a chunk of steps."""

    model: Any
    plan: Any
    start: Any
    step: Any
    chunk: Any

    def state(self, **changes):
        """The first state."""
        return self.start(read_numbers(config(**BASE | changes), SCHEMA))


@pytest.fixture(scope="module")
def base():
    """What is compiled once: see Base."""
    c = config(**BASE)
    model, plan = build(c)
    step = make_train_step(c, model, plan, 10)
    start = jax.jit(functools.partial(create_state, c, model, plan))
    return Base(model, plan, start, jax.jit(step), jax.jit(make_train_chunk(step, STEPS)))


@pytest.fixture(scope="module")
def usual(base):
    """What training leaves with the usual numbers."""
    return leaves(base.chunk(base.state(), batches(), STEPS)[0])


NUMBERS = {
    "seed": 1,
    "loss.task_weights": "order=3",
    "optim.learning_rate": 1e-2,
    "optim.weight_decay": 0.1,
    "optim.table_learning_rate": 1e-2,
    "optim.table_l2": 0.1,
    "optim.table_init": 0.1,
    "model.dropout": 0.3,
    "model.embedding_dropout": 0.3,
}


@pytest.mark.parametrize("option", NUMBERS)
def test_a_number_changes_what_is_computed(option, base, usual):
    """Of one program, as in a search's trials."""
    changed = base.state(**{option.replace(".", "__"): NUMBERS[option]})
    state, _ = base.chunk(changed, batches(), STEPS)
    assert any((a != b).any() for a, b in zip(leaves(state), usual, strict=True))


OTHERS = [
    {"loss.positive_weights": "click=5"},
    {"loss.sample_weights": False},
    {"loss.tasks": "click=focal"},
    {"loss.balancing": "pcgrad"},
    {"loss.balancing": "uncertainty"},
    {"optim.b1": 0.5},
    {"optim.b2": 0.9},
    {"optim.eps": 1e-2},
    {"optim.clip": 1e-3},
    {"optim.schedule": "cosine"},
    {"optim.schedule": "linear"},
    {"optim.warmup_steps": 5},
    *({"optim.tables": name} for name in OPTIMIZERS if name != "adam"),
    {"optim.table_dtype": "bfloat16"},
    {"optim.codebook_init": 0.1},
    {"model.normalisation": "batch"},
    {"model.dtype": "bfloat16"},
]


@functools.cache
def text(**changes):
    """A run's start and its step, as programs."""
    c = config(model__architecture="shared_bottom", model__experts="mlp+hcnet", **changes)
    model, plan = build(c)
    start = functools.partial(create_state, c, model, plan)
    numbers = read_numbers(c, SCHEMA)
    state, batch = jax.eval_shape(start, numbers), jax.tree.map(lambda a: a[0], batches())
    return program(start, numbers) + program(make_train_step(c, model, plan, 10), state, batch)


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_an_option_changes_the_program(changes):
    assert text(**{name.replace(".", "__"): v for name, v in changes.items()}) != text()


def test_equal_options_make_the_same_program():
    assert text.__wrapped__() == text()


def test_a_chunk_equals_its_steps_one_by_one_and_stops_at_the_count(base):
    state, given = base.state(), batches()
    chunked, metrics = base.chunk(state, given, 3)
    for i in range(3):
        state, one = base.step(state, jax.tree.map(lambda a, i=i: np.asarray(a)[i], given))
        np.testing.assert_allclose(metrics["losses"][i], one["losses"], rtol=1e-6)
    assert int(chunked.step) == 3
    for a, b in zip(leaves(chunked), leaves(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_each_step_drops_other_numbers_out(base):
    state = base.state()
    batch = jax.tree.map(lambda a: np.asarray(a)[0], batches())
    first, again, next_ = (base.step(state.replace(step=np.int32(at)), batch) for at in (0, 0, 1))
    np.testing.assert_array_equal(first[1]["losses"], again[1]["losses"])
    assert (np.asarray(first[1]["losses"]) != next_[1]["losses"]).all()


def test_padding_changes_nothing():
    """Sixteen rows and as many masked ones, of the same content or of wild content."""
    rng = np.random.default_rng(1)
    chunk, masked = batches(), np.zeros((STEPS, B), bool)
    wild = batches(seed=2).replace(
        labels=np.full((STEPS, B, 2), np.nan, "f4"),
        sample_weight=np.full((STEPS, B), 1e9, "f4"),
        row_mask=masked,
        ids=rng.integers(-5, 10_000, (STEPS, B, 3)).astype("i4"),
    )
    c = config(
        model__architecture="shared_bottom", model__normalisation="batch", loss__sample_weights=True
    )
    model, plan = build(c)
    run = jax.jit(make_train_chunk(make_train_step(c, model, plan, 10), STEPS))
    first = first_state(c, model, plan)
    (state, metrics), (state2, metrics2) = (
        run(first, jax.tree.map(lambda a, b: np.concatenate([a, b], axis=1), chunk, more), STEPS)
        for more in (chunk.replace(row_mask=masked), wild)
    )
    np.testing.assert_array_equal(metrics["losses"], metrics2["losses"])
    for a, b in zip(leaves(state), leaves(state2), strict=True):
        np.testing.assert_array_equal(a, b)
    same = jax.tree.map(np.array_equal, state.model_state, first.model_state)
    assert not any(jax.tree.leaves(same))  # statistics are of the rows seen


def test_the_schedule_scales_both_rates():
    """Of one batch at the first and at the last step of a warm-up of four, with plain SGD."""
    c = config(
        model__architecture="shared_bottom", optim__warmup_steps=4, optim__tables="sgd"
    )  # fmt: skip
    model, plan = build(c)
    state, batch = first_state(c, model, plan), jax.tree.map(lambda a: a[0], batches())
    step = jax.jit(make_train_step(c, model, plan, 10))

    def moves(at):
        after, _ = step(state.replace(step=np.int32(at)), batch)
        pairs = zip(leaves(after), leaves(state), strict=True)
        return [np.asarray(a, np.float64) - b for a, b in pairs]

    for first, last in zip(moves(0), moves(3), strict=True):
        assert np.abs(first).max() > 0
        np.testing.assert_allclose(4 * first, last, rtol=1e-2, atol=0.02 * np.abs(last).max())


def test_schedules():
    def factors(**changes):
        factor = schedule(config(optim__warmup_steps=4, **changes).optim, 12)
        return np.asarray(jax.jit(jax.vmap(factor))(np.arange(13)))

    warm = factors()
    np.testing.assert_allclose(warm[:4], [0.25, 0.5, 0.75, 1.0])
    assert (warm[4:] == 1).all()
    linear = factors(optim__schedule="linear")
    np.testing.assert_allclose(linear[4:], 1 - np.arange(9) / 8, rtol=1e-6)
    cosine = factors(optim__schedule="cosine")
    np.testing.assert_allclose(cosine[[4, 8, 12]], [1, 0.5, 0], atol=1e-6)


def test_decay_is_decoupled_and_on_matrices_alone():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zeros = {"kernel": np.zeros((2, 2), "f4"), "bias": np.zeros(2, "f4")}
    moved = jax.jit(apply_dense)(params, zeros, 0.1, 0.5)
    np.testing.assert_allclose(moved["kernel"], 1 - 0.1 * 0.5)
    np.testing.assert_array_equal(moved["bias"], 1)


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_count_what_they_weigh_where_weights_are_asked_for(weighted):
    c = config(loss__sample_weights=weighted)
    _, plan = build(c)
    b = jax.tree.map(lambda a: np.asarray(a[0]), batches())
    b = b.replace(row_mask=np.arange(B) < B - 2)
    found = jax.jit(lambda b: make_weights(c.loss, b, plan.schema))(b)
    expected = b.row_mask * (b.sample_weight * b.loss_weight if weighted else 1.0)
    np.testing.assert_allclose(found.tasks[:, 0], expected / expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(found.rows, b.row_mask / b.row_mask.sum(), rtol=1e-6)


def test_scoring_drops_nothing_out_and_keeps_the_task_order(base):
    model, plan, state = base.model, base.plan, base.state()
    batch = jax.tree.map(lambda a: np.asarray(a[0]), batches())
    score = jax.jit(make_score_step(model, plan, read_losses(config().loss, SCHEMA)))

    @jax.jit
    def alone(state, batch):
        gathered = lookup.gather(state.tables, lookup.row_ids(plan, batch), look_ups(plan))
        inputs = lookup.to_inputs(plan, gathered, batch)
        return model.apply({"params": state.params}, inputs, train=False).logits

    logits, expected = score(state, batch), alone(state, batch)
    assert logits.shape == (B, 2)
    for column, task in enumerate(SCHEMA.task_names):
        np.testing.assert_allclose(logits[:, column], expected[task], rtol=1e-5)


def test_weights_of_tasks_are_checked():
    with pytest.raises(UserError, match=r"loss.task_weights 'clicks'. Did you mean 'click'"):
        hyper(config(loss__task_weights="clicks=1"), SCHEMA)


@pytest.mark.slow
def test_accumulation_saves_memory():
    big = jax.tree.map(lambda a: jax.ShapeDtypeStruct((4096, *a.shape[2:]), a.dtype), batches())
    large = {"embedding_dim": 16, "experts": "mlp*3", "mlp__hidden": (256,) * 3}

    def temporaries(**changes):
        own = {f"model__{name}": value for name, value in large.items()}
        c = config(model__architecture="mmoe", **own, **changes)
        model, plan = build(c)
        step = jax.jit(make_train_step(c, model, plan, 10), donate_argnums=0)
        shapes = jax.eval_shape(lambda: create_state(c, model, plan))
        return step.lower(shapes, big).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(train__accumulate=8) < 0.3 * temporaries()


# A moving average of the dense parameters: against its equation, in every way to train.


DECAY = 0.7


def exact(**changes):
    model = {"architecture": "shared_bottom", "dtype": "float64", "dropout": 0.2}
    own = {f"model__{name}": value for name, value in model.items()}
    return config(optim__eps=1e-4, **own, **changes)


def assert_near(one, other, **within):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **within), one, other)


def states(c, chunk):
    """The state and losses after each of a chunk's steps."""
    model, plan = build(c)
    step = jax.jit(make_train_step(c, model, plan, 10))
    state = first_state(c, model, plan)
    for i in range(len(chunk.row_mask)):
        state, metrics = step(state, jax.tree.map(lambda a, i=i: a[i], chunk))
        yield state, metrics["losses"]


def test_it_is_the_weighted_mean_of_all_steps(float64):
    """And what is trained is as without it: dense parameters, tables, statistics, losses."""
    given, sums = {"model__normalisation": "batch"}, 0.0
    averaged = states(exact(train__average=DECAY, **given), batches(6))
    for t, (state, losses), (plain, others) in zip(
        range(1, 7), averaged, states(exact(**given), batches(6)), strict=True
    ):
        assert_near(state.iterate["params"], plain.params, rtol=1e-12)
        assert_near(leaves(state.to_train()), leaves(plain), rtol=1e-12)
        assert_near((state.opt_state, losses), (plain.opt_state, others), rtol=1e-12)
        # The sum of (1 - d) d^(t - i) p_i, and of its weights: written out, not as the step has it.
        last = np.concatenate([np.ravel(p) for p in jax.tree.leaves(plain.params)])
        sums, total = DECAY * sums + (1 - DECAY) * last, 1 - DECAY**t
        average = np.concatenate([np.ravel(p) for p in jax.tree.leaves(state.params)])
        np.testing.assert_allclose(average, sums / total, rtol=1e-10, atol=1e-12)
        assert float(state.iterate["weight"]) == pytest.approx(total, rel=1e-12)
        assert (np.abs(average - last).max() > 1e-5) == (t > 1)  # the first step is itself


@pytest.mark.parametrize(
    "way",
    [
        {"parallel__devices": 2},
        pytest.param(
            {"parallel__devices": 8, "parallel__strategy": "pmap"}, marks=pytest.mark.slow
        ),
        pytest.param({"parallel__devices": 8, "train__accumulate": 2}, marks=pytest.mark.slow),
    ],
)
def test_devices_and_parts_have_the_average_of_one_device(float64, way):
    expected, _ = run(exact(train__average=DECAY))
    state, _ = placed_run(exact(train__average=DECAY, **way), batches())
    for part in ("params", "iterate"):
        assert_near(getattr(state, part), getattr(expected, part), rtol=1e-9, atol=1e-10)


# Many steps of MMoE from given weights, against Adam and lazy Adam written out in NumPy.


MANY = 96
B1, B2, EPS = 0.9, 0.999, 1e-8
DENSE, ROWS = 1e-3, 5e-3  # learning rates
NEAR = 1e-5  # of the largest number of an array


class Adam:
    """Of an array; or lazy, of rows, whose moments and counts advance only where a batch has
    them."""

    def __init__(self, shape, rate):
        self.rate, self.m, self.v = rate, np.zeros(shape), np.zeros(shape)
        self.count = np.zeros(shape[:1] + (1,) * (len(shape) - 1))

    def step(self, array, gradient, rows=slice(None)):
        self.count[rows] += 1
        self.m[rows] = B1 * self.m[rows] + (1 - B1) * gradient
        self.v[rows] = B2 * self.v[rows] + (1 - B2) * gradient**2
        mean = self.m[rows] / (1 - B1 ** self.count[rows])
        root = np.sqrt(self.v[rows] / (1 - B2 ** self.count[rows]))
        array[rows] -= self.rate * mean / (root + EPS)


def test_96_steps_equal_an_independent_lazy_adam():
    c = config(
        model__architecture="mmoe",
        model__experts="mlp*2",
        optim__learning_rate=DENSE,
        optim__table_learning_rate=ROWS,
        loss__sample_weights=False,
    )
    model, plan = build(c)
    lie, state, chunk = plan.arrays["embedding"], first_state(c, model, plan), batches(MANY, 5)
    step = make_train_step(c, model, plan, MANY)
    after, metrics = jax.jit(make_train_chunk(step, MANY))(state, chunk, MANY)

    def loss(params, gathered, batch):
        inputs = lookup.to_inputs(plan, gathered, batch)
        logits = model.apply({"params": params}, inputs, train=False).logits
        total = 0.0
        for task, known in zip(SCHEMA.tasks, batch.labels.T):
            weight = jnp.ones(B) if task.space == "all" else batch.labels[:, 0]
            each = jnp.logaddexp(0, logits[task.name]) - known * logits[task.name]
            total += jnp.sum(weight * each) / jnp.sum(weight)
        return total

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    params = jax.tree.map(lambda a: np.array(a, np.float64), state.params)
    table = np.array(lie.to_rows(np.asarray(state.tables["embedding"])), np.float64)
    dense = [Adam(a.shape, DENSE) for a in jax.tree.leaves(params)]
    lazy, losses = Adam(table.shape, ROWS), []
    row_ids = jax.jit(functools.partial(lookup.row_ids, plan))
    for n in range(MANY):
        batch = jax.tree.map(lambda a, n=n: a[n], chunk)
        ids = np.asarray(row_ids(batch)["embedding"])
        gathered = {"embedding": jnp.asarray(table[ids], jnp.float32)}
        total, (of_params, of_rows) = gradient(params, gathered, batch)
        losses.append(float(total))
        for adam, array, own in zip(dense, jax.tree.leaves(params), jax.tree.leaves(of_params)):
            adam.step(array, np.asarray(own, np.float64))
        rows, place = np.unique(ids, return_inverse=True)
        summed = np.zeros((len(rows), plan.dim))
        np.add.at(summed, place.reshape(-1), np.asarray(of_rows["embedding"]).reshape(-1, plan.dim))
        lazy.step(table, summed, rows)
    moved = np.abs(table - lie.to_rows(np.asarray(state.tables["embedding"]))).max(axis=1)
    assert (moved > 0.05).sum() > 50  # nearly all rows, and far
    np.testing.assert_allclose(metrics["losses"].sum(axis=1), losses, rtol=1e-4)
    got = lie.to_rows(np.asarray(after.tables["embedding"]))
    for array, known in ((got, table), *zip(*map(jax.tree.leaves, (after.params, params)))):
        np.testing.assert_allclose(array, known, rtol=0, atol=NEAR * np.abs(known).max())
