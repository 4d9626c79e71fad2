"""Each balancer against its equations, by itself and in steps; and who may be balanced by which."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from other_values import another
from toy_steps import batches, build, config, first_state, leaves

from dtn_jax import balancing
from dtn_jax.balancing import BALANCERS, read_balancer, seam
from dtn_jax.balancing.balancer import Balancer, Seen
from dtn_jax.balancing.pcgrad import PCGrad
from dtn_jax.errors import UserError
from dtn_jax.losses import finite, read_losses
from dtn_jax.options import declared, option
from dtn_jax.run.step import BALANCING, make_train_chunk, make_train_step
from dtn_jax.schema import Field, Schema, Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")

# Three tasks, one a regression; AITM has an auxiliary loss for click and order.
SCHEMA = Schema(
    "shop",
    fields=(Field("user", rows=20), Field("item", rows=30), Field("hour", rows=10)),
    tasks=(Task("click"), Task("order", upstream=("click",)), Task("seconds", kind="regression")),
)
B = 8
RATE = 0.1


def steps(count):
    """`count` batches of B rows; no id stands twice in one."""
    rng = np.random.default_rng(1)
    ids = [[rng.permutation(f.rows)[:B] for f in SCHEMA.fields] for _ in range(count)]
    labels = np.concatenate(
        [rng.random((count, B, 2)) < 0.5, 3 * rng.normal(size=(count, B, 1))], axis=2
    )
    return jax.tree.map(lambda a: a[:, :B], batches(count)).replace(
        ids=np.array(ids).swapaxes(1, 2).astype(np.int32),
        labels=labels.astype(np.float32),
        label_mask=np.ones((count, B, 3), bool),
    )


def options(architecture, **changes):
    return config(
        model__architecture=architecture,
        optim__tables="sgd",
        optim__table_learning_rate=RATE,
        optim__table_init=0.5,
        loss__sample_weights=False,
        model__aitm__calibrator=20.0,
        **changes,
    )


def surgery(g, orders):
    """PCGrad on gradients [T, N], as the paper's Algorithm 1 writes it down."""
    result = np.zeros_like(g[0])
    for i, order in enumerate(orders):
        v = g[i].copy()
        for j in order:
            if j != i and v @ g[j] < 0:
                v -= v @ g[j] / (g[j] @ g[j]) * g[j]
        result += v
    return result


def orders(key, tasks):
    return [np.asarray(jax.random.permutation(k, tasks)) for k in jax.random.split(key, tasks)]


@pytest.mark.parametrize("tasks", [1, 5])
def test_pcgrad_is_the_papers_algorithm(tasks):
    rng = np.random.default_rng(tasks)
    coefficients, conflicts = jax.jit(PCGrad().coefficients), 0
    for draw in range(5):
        g = rng.normal(size=(tasks, 6))
        key = jax.random.key(draw)
        with jax.enable_x64(True):
            c = np.asarray(coefficients(g @ g.T, None, {}, key))
        expected = surgery(g, orders(key, tasks))
        np.testing.assert_allclose(c @ g, expected, atol=1e-9 * np.abs(expected).max(), rtol=0)
        conflicts += (g @ g.T < 0).any()
    assert conflicts or tasks == 1


def test_pcgrad_leaves_a_task_without_gradient_alone():
    gram = np.array([[1.0, 0.0, -2.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 9.0]], np.float32)
    c = jax.jit(PCGrad().coefficients)(gram, None, {}, jax.random.key(0))
    assert c.dtype == np.float32
    np.testing.assert_allclose(c, [1 + 2, 1, 1 + 2 / 9], rtol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "scope"),
    [
        ("aitm", "shared"),
        pytest.param("aitm", "embeddings", marks=pytest.mark.slow),
        pytest.param("stem", "embeddings", marks=pytest.mark.slow),
        pytest.param("stem", "shared", marks=pytest.mark.slow),
    ],
)
def test_a_step_with_pcgrad_combines_the_gradients_of_its_scope(architecture, scope):
    """From plain steps of one task alone. AITM has an auxiliary loss, STEM views of its tasks."""
    batch = jax.tree.map(lambda a: np.asarray(a)[0], steps(1))

    def mover(**changes):
        """(task weights) -> (the gradients of table rows and of dense parameters, metrics)."""
        c = options(architecture, seed=1, **changes)
        model, plan = build(c, SCHEMA)
        state = first_state(c, model, plan)
        step = jax.jit(make_train_step(c, model, plan, 10))

        def moved(weights):
            hyper = state.hyper.replace(task_weights=np.asarray(weights, np.float32))
            after, metrics = step(state.replace(hyper=hyper), batch)
            by = np.asarray(state.tables["embedding"] - after.tables["embedding"], np.float64)
            moment = optax.tree.get(after.opt_state, "mu")  # 0.1 of the gradient, by b1
            dense = [10 * np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(moment)]
            return [plan.arrays["embedding"].to_rows(by) / RATE, *dense], metrics

        return moved, plan, state

    moved, plan, state = mover()
    own = np.array([3, 1, 0.2])
    aux, _ = moved(np.zeros(3))
    g = [[a - b for a, b in zip(moved(weights)[0], aux)] for weights in np.diag(own)]
    every, _ = moved(own)
    width = sum(f.rows for f in SCHEMA.fields)  # rows of a view
    first = plan.views.index("shared") * width
    places = [(0, slice(first, first + width))]
    for i in range(1, len(aux)):
        if scope == "shared" and sum(np.abs(task[i]).max() > 1e-6 for task in g) > 1:
            places.append((i, slice(None)))
    assert (len(places) > 1) == (scope == "shared")
    assert len(places) < len(aux)  # towers are of one task
    flat = np.stack([np.concatenate([t[i][at].ravel() for i, at in places]) for t in g])
    assert (flat @ flat.T < 0).any()
    assert (np.abs(aux[0]).max() > 1e-3) == (architecture == "aitm")
    key = jax.random.fold_in(jax.random.fold_in(state.key, 0), BALANCING)
    together = surgery(flat, orders(key, 3))
    expected, start = [leaf.copy() for leaf in every], 0
    for i, at in places:
        shape = every[i][at].shape
        count = int(np.prod(shape))
        expected[i][at] = together[start : start + count].reshape(shape) + aux[i][at]
        start += count
    assert max(np.abs(a - b).max() for a, b in zip(expected, every)) > 1e-3

    how = {"loss__balancing": "pcgrad", "loss__pcgrad__scope": scope}
    got, metrics = mover(**how)[0](own)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["task_weights"] @ flat, together, atol=1e-5)
    np.testing.assert_allclose(metrics["task_gram"], flat @ flat.T, rtol=1e-4, atol=1e-5)


COUNT, SLOPE = 6, 0.3
HALVES = np.array([1, 1, 0.5])  # at first: of a regression 1/2


def stepped(count, **changes):
    """The state and losses after the first steps of a chunk of COUNT."""
    c = options("shared_bottom", optim__learning_rate=SLOPE, **changes)
    model, plan = build(c, SCHEMA)
    chunk = jax.jit(make_train_chunk(make_train_step(c, model, plan, 10), COUNT))
    state, chunk_ = first_state(c, model, plan), steps(COUNT)
    return [chunk(state, chunk_, n) for n in count]


@functools.cache
def plain_step():
    """(the tasks' weights) -> the state after a step with them, compiled once."""
    c = options("shared_bottom", optim__learning_rate=SLOPE)
    model, plan = build(c, SCHEMA)
    state, step = first_state(c, model, plan), jax.jit(make_train_step(c, model, plan, 10))
    batch = jax.tree.map(lambda a: a[0], steps(COUNT))

    def stepped(weights):
        hyper = state.hyper.replace(task_weights=np.asarray(weights, np.float32))
        return step(state.replace(hyper=hyper), batch)[0]

    return stepped


def assert_near(one, other):
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_uncertainty_learns_log_variances_with_the_dense_optimizer():
    """Replayed in NumPy from the losses that the steps report; a first step is that of a run whose
    task weights are those that the balancer begins with."""
    changes = {"loss__task_weights": "order=2", "loss__balancing": "uncertainty"}
    (one, _), (state, metrics) = stepped((1, COUNT), **changes)
    s, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
    own = np.array([1, 2, 1])
    for t, losses in enumerate(np.asarray(metrics["losses"], np.float64), 1):
        weights = HALVES * np.exp(-s)
        np.testing.assert_allclose(metrics["task_weights"][t - 1], weights, rtol=1e-4)
        gradient = -weights * own * losses + 0.5
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        s -= SLOPE * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(state.params[seam.LEARNED]["log_variance"], s, rtol=1e-4)

    params = {k: v for k, v in one.params.items() if k != seam.LEARNED}
    assert_near(one.replace(params=params), plain_step()(own * HALVES))


def test_static_weights_are_those_of_the_loss_times_the_tasks():
    """And are told where they name no task, before anything else."""
    given = {"loss__task_weights": "order=2", "loss__static__task_weights": "order=3,click=0.5"}
    ((static, metrics),) = stepped((1,), loss__balancing="static", **given)
    np.testing.assert_array_equal(metrics["task_weights"][0], [0.5, 3, 1])
    assert_near(static, plain_step()([0.5, 6, 1]))
    with pytest.raises(UserError, match=r"task in loss.static.task_weights 'clik'. Did you mean"):
        seam.first_state(BALANCERS["static"](task_weights="clik=1"), SCHEMA.tasks)


def test_weights_from_losses_are_as_if_they_had_been_given():
    """A first step of gls is that of a run with the task weights that it reports; and those are by
    the losses that it reports."""
    own = np.array([1, 2, 1])
    ((one, metrics),) = stepped((1,), loss__balancing="gls", loss__task_weights="order=2")
    L, w = own * np.asarray(metrics["losses"][0]), np.asarray(metrics["task_weights"][0])
    np.testing.assert_allclose(w, np.prod(L) ** (1 / 3) / L, rtol=1e-5)
    assert_near(one, plain_step()(own * w))


@pytest.mark.parametrize("name", ["gls", "mgda", "rlw"])
def test_a_task_without_a_row_has_no_weight_and_takes_no_part(name):
    c = options("shared_bottom", loss__balancing=name)
    model, plan = build(c, SCHEMA)
    step, state = jax.jit(make_train_step(c, model, plan, 10)), first_state(c, model, plan)
    batch = jax.tree.map(lambda a: np.array(a[0]), steps(1))
    batch.label_mask[:, 2] = False
    _, metrics = step(state, batch)
    w = np.asarray(metrics["task_weights"])
    assert w[2] == 0
    assert (w[:2] > 0).all()
    if name == "mgda":  # min-norm would put all weight on it
        np.testing.assert_allclose(w.sum(), 2, rtol=1e-5)  # of tasks with a gradient
        assert (np.asarray(metrics["task_gram"])[2] == 0).all()
    if name == "gls":
        L = np.asarray(metrics["losses"])[:2]
        np.testing.assert_allclose(w[:2], np.sqrt(np.prod(L)) / L * 3 / 2, rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class Breaks(Balancer):
    """After two steps its state is not a number; or it has another shape at once."""

    axes: int = option(0, "of the state", least=0)

    def init_state(self, tasks):
        return jnp.zeros(())

    def update(self, state, seen):
        return jnp.where(seen.step < 2, state, jnp.nan) + jnp.zeros((1,) * self.axes)


def test_a_balancer_that_breaks_is_blamed_and_its_step_may_be_skipped(monkeypatch):
    monkeypatch.setitem(balancing.BALANCERS, "breaks", Breaks)
    ((state, metrics),) = stepped((COUNT,), loss__balancing="breaks")
    bad = np.asarray(metrics["nonfinite"])
    (place,) = np.argwhere(bad[:3]).tolist()
    named = finite.names(SCHEMA.task_names, state.params, state.tables)
    assert (place[0], named[place[1]]) == (2, "loss.balancing: update")
    c = options("shared_bottom", loss__balancing="breaks", train__skip_nonfinite=1)
    model, plan = build(c, SCHEMA)
    before, batch = first_state(c, model, plan), jax.tree.map(lambda a: a[0], steps(1))
    before = before.replace(step=jnp.int32(2))
    after, _ = jax.jit(make_train_step(c, model, plan, 10))(before, batch)
    for a, b in zip(leaves(after), leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (int(after.step), float(after.balancing)) == (3, 0)
    with c.unlocked():
        c.loss.breaks = {"axes": 1}
    wrong = (
        r"Breaks.update \(.*test_balancers.py, line \d+\) gives the shapes \(1,\), expected \(\)"
    )
    with pytest.raises(UserError, match=wrong):
        jax.eval_shape(make_train_step(c, model, plan, 10), before, batch)


@dataclasses.dataclass(frozen=True)
class Steep(Balancer):
    """What it gives is finite at first, and its slope is not."""

    def init(self, tasks):
        return {"a": jnp.zeros(())}

    def weights(self, learned, losses, state, key, tasks):
        return jnp.ones(len(tasks)) + jnp.sqrt(learned["a"])


def test_a_slope_that_is_not_finite_is_blamed_at_its_step(monkeypatch):
    monkeypatch.setitem(balancing.BALANCERS, "steep", Steep)
    ((state, metrics),) = stepped((1,), loss__balancing="steep")
    named = finite.names(SCHEMA.task_names, state.params, state.tables)
    bad = np.asarray(metrics["nonfinite"])[0]
    assert [name for name, marked in zip(named, bad, strict=True) if marked] == [
        "loss.balancing: penalty"
    ]


def test_what_is_learned_for_a_task_stays_where_a_batch_has_no_row_of_it():
    tasks, rows = SCHEMA.tasks, jnp.array([4, 0, 2])
    learned = {"log_variance": jnp.array([0.3, 0.2, 0.1]), "of_all": jnp.ones(())}
    losses = jnp.array([0.5, 0.0, 2.0])
    of_step = seam.Balancing(balancing.BALANCERS["uncertainty"](), tasks, learned, {}, None, rows)
    gradient = of_step.with_learned_gradient({}, losses)[seam.LEARNED]
    expected = 0.5 - HALVES * np.exp(-learned["log_variance"]) * losses
    expected = np.where(rows > 0, expected, 0)
    np.testing.assert_allclose(gradient["log_variance"], expected, rtol=1e-6)


def test_a_loss_that_may_be_negative_is_refused_where_logarithms_or_ratios_are_taken():
    for name, owner in balancing.BALANCERS.items():
        c = options("shared_bottom", loss__balancing=name, loss__tasks="seconds=ziln")
        assert owner.positive == (name in {"uncertainty", "dwa", "gls", "stch", "gradnorm"})
        if owner.positive:
            with pytest.raises(UserError, match=f"balancing={name} needs losses above 0, and ziln"):
                read_losses(c.loss, SCHEMA)
        else:
            read_losses(c.loss, SCHEMA)


def test_an_error_in_a_balancer_names_its_file_and_line(monkeypatch):
    def weights(self, learned, losses, state, key, tasks):
        return jnp.ones(len(tasks)) / state["averag"]

    monkeypatch.setattr(Breaks, "weights", weights)
    monkeypatch.setitem(balancing.BALANCERS, "breaks", Breaks)
    line = weights.__code__.co_firstlineno + 1
    place = rf"Breaks.weights \(.*/test_balancers.py, line {line}\) fails: TypeError: "
    with pytest.raises(UserError, match=place):
        stepped((1,), loss__balancing="breaks")


@dataclasses.dataclass(frozen=True)
class Doubled(Balancer):
    times: float = option(2.0, "what the first task's loss is multiplied by", above=0.0)

    def weights(self, learned, losses, state, key, tasks):
        return jnp.ones(len(tasks)).at[0].set(self.times)


def said(balancer):
    """All that a balancer says over steps, of tasks whose gradients agree and disagree."""
    learned, state = balancer.init(SCHEMA.tasks), balancer.init_state(SCHEMA.tasks)
    count = 2100 if jax.tree.leaves(state) else 2  # more than two periods of dwa
    rng = np.random.default_rng(0)
    shown = np.arange(count), rng.normal(size=(count, 3, 2)), rng.random((count, 3)) + 0.1

    def step(state, one):
        i, g, losses = one
        key, gram = jax.random.fold_in(jax.random.key(0), i), g @ g.T
        read = losses if balancer.reads_losses else None
        told = (
            balancer.weights(learned, read, state, key, SCHEMA.tasks),
            balancer.penalty(learned),
            balancer.coefficients(gram, losses, state, key),
        )
        seen = Seen(losses, jnp.ones(3, int), jnp.sqrt(jnp.diag(gram)), gram, i, key)
        return balancer.update(state, seen), told

    shown = jax.tree.map(jnp.asarray, shown)
    return jax.tree.leaves((learned, jax.jit(lambda: jax.lax.scan(step, state, shown))()))


OTHER = {"task_weights": "order=3"}  # of options that are text


@pytest.mark.parametrize("owner", [*BALANCERS.values(), Doubled])
def test_every_option_of_a_balancer_changes_what_it_says(owner):
    before = said(owner())
    for name, found in declared(owner).items():
        if name == "scope":  # the step reads it
            continue
        other = OTHER[name] if name in OTHER else another(found, found.default)
        after = said(owner(**{name: other}))
        same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        assert not all(same), name


def test_who_may_be_balanced_by_which():
    loss = config().loss
    for name in BALANCERS:
        loss.balancing = name
        assert type(read_balancer(loss, ("click", "shared"), "shared")) is BALANCERS[name]
    loss.balancing = "pcgrad"
    with pytest.raises(UserError, match=r"loss.balancing=pcgrad reads the tasks' gradients at"):
        read_balancer(loss, ("click", "order"), "shared")
    loss.balancing = "uncertainty"
    assert read_balancer(loss, ("click", "order"), "shared")
    loss.balancing = "pcgrd"
    with pytest.raises(UserError, match=r"'pcgrd'. Did you mean 'pcgrad'"):
        read_balancer(loss, ("shared",), "shared")
