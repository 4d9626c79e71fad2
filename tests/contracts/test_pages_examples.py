"""The examples of docs/extend: short, on their pages, and right against NumPy."""

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import page_commands
import pytest
from built_models import PAIR, F, dense, mlp, relu, softmax, tower, weighted
from toy_steps import STEPS, batches, build, config, leaves

from dtn_jax.balancing.balancer import Seen
from dtn_jax.config import plugins
from dtn_jax.losses.cross_entropy import CrossEntropy
from dtn_jax.metrics import Rows
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_chunk, make_train_step

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "docs/examples"
KINDS = {
    "my_model": ("ARCHITECTURES", "soft_mmoe"),
    "my_expert": ("EXPERTS", "inner"),
    "my_data": ("DATASETS", "visits"),
    "my_metric": ("METRICS", "captured"),
    "my_loss": ("LOSSES", "smoothed"),
    "my_balancer": ("BALANCERS", "equal_losses"),
}


pytestmark = pytest.mark.usefixtures("unload", "quick_to_compile")
LONGEST = 40  # lines that a reader takes in at once
EXAMPLES = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
# Other pages may have files of the same names.
PAGES = [ROOT / "README.md", ROOT / "docs/start.md", ROOT / "docs/export.md"]
PAGES += sorted(ROOT.glob("docs/extend/*.md"))
OTHERS = {("start.md", "my_table.py"): "log_table.py"}  # under another name


def load(*names: str):
    """Loads examples as plug-ins; what the last one defines."""
    plugins.load(",".join(str(FOLDER / f"{name}.py") for name in names))
    kind, name = KINDS[names[-1]]
    return plugins.KINDS[kind].known[name]


def shown(page):
    """{the name of an example: its text on a page}."""
    titled = [block for block in page_commands.blocks(page.read_text()) if block.title]
    found = {OTHERS.get((page.name, block.title), block.title): block.text for block in titled}
    return {name: text for name, text in found.items() if name in EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_short_and_on_a_page(name):
    assert len(EXAMPLES[name].splitlines()) <= LONGEST
    assert any(name in shown(page) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_the_whole_file(page):
    """As text, because viewers of code include no files; README shows a model."""
    assert page.name != "README.md" or "my_model.py" in shown(page)
    for name, text in shown(page).items():
        assert text == EXAMPLES[name], f"{name}: copy docs/examples/{name} into the page"


def test_the_architecture_is_a_gate_with_a_temperature(precision, model):
    load("my_model")
    built = model(
        PAIR,
        architecture="soft_mmoe",
        soft_mmoe__temperature=0.5,
        dtype=str(precision.dtype),
    )
    p, views = built.exact
    x = views["shared"]
    f = [mlp(p["shared"][f"mlp_{m}"], x) for m in range(2)]
    got = built().logits
    for task in PAIR.task_names:
        weights = softmax(dense(p[f"gate_{task}"], x) / 0.5)
        precision.assert_close(got[task], tower(p[f"tower_{task}"], weighted(weights, f)))


@pytest.mark.parametrize("fields", [F, 1], ids=["fields", "a plain vector"])
def test_the_expert_has_the_products_of_all_pairs(fields, precision, random_variables):
    expert = load("my_expert")(width=8, hidden=(6,), dtype=precision.dtype)
    e = np.random.default_rng(0).normal(size=(6, fields, 2))
    given = jnp.asarray(e, precision.dtype), None, False
    variables = random_variables(expert, *given, seed=1)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    pairs = itertools.combinations(range(fields), 2)
    products = [(e[:, i] * e[:, j]).sum(-1) for i, j in pairs]
    x = np.column_stack([e.reshape(6, -1), *products])
    expected = relu(dense(p["output"], relu(dense(p["hidden_0"], x))))
    assert np.count_nonzero(expected)
    precision.assert_close(expert.apply(variables, *given), expected)


@pytest.mark.parametrize("weights", [False, True])
def test_the_metric_is_the_mean_over_all_orders_of_equal_scores(weights):
    """A row of weight k is k rows."""
    compute, rng = load("my_metric").compute, np.random.default_rng(0)
    scores, labels = rng.integers(0, 12, 60).astype(float), rng.random(60) < 0.3
    times = 1 + scores.astype(int) // 3 if weights else np.ones(60, int)
    rows = np.repeat(np.arange(60), times)
    orders = rng.random((4000, len(rows)))
    places = np.lexsort((orders, np.broadcast_to(-scores[rows], orders.shape)))
    inside = np.clip(len(rows) / 10 - np.arange(len(rows)), 0, 1)
    expected = (labels[rows][places] @ inside).mean() / labels[rows].sum()
    given = Rows("binary", scores, labels, times.astype(float) if weights else None)
    assert compute(given) == pytest.approx(expected, abs=0.003)
    assert compute(Rows("binary", -np.arange(60.0), np.arange(60) < 6)) == 1
    assert compute(Rows("binary", scores, np.zeros(60, bool))) is None


def test_the_loss_is_cross_entropy_of_smoothed_labels():
    owner, rng = load("my_loss"), np.random.default_rng(0)
    z, y = rng.normal(size=20) * 3, (rng.random(20) < 0.5).astype(float)
    p, smooth = 1 / (1 + np.exp(-z)), y + 0.2 * (0.5 - y)
    expected = -smooth * np.log(p) - (1 - smooth) * np.log1p(-p)
    expected[y == 1] *= 5  # what a positive weighs
    given = jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32)
    np.testing.assert_allclose(owner(share=0.2)(*given, 5.0), expected, rtol=1e-5)
    np.testing.assert_allclose(owner(share=0.0)(*given, 5.0), CrossEntropy()(*given, 5.0))
    far = jnp.array([-1e4, 1e4]), jnp.array([1.0, 0.0])
    assert jnp.isfinite(jax.grad(lambda z: owner()(z, far[1], 1.0).sum())(far[0])).all()


# ---------------------------------------------------------------- the balancer


@pytest.mark.parametrize("decay", [0.9, 0.5, 0.0])
def test_it_divides_losses_by_their_moving_averages(decay, precision):
    owner = load("my_balancer")(decay=decay)
    losses = np.random.default_rng(0).random((5, 3)) * [1, 40, 0.1] + 0.01
    state, average = owner.init_state("abc").astype(precision.dtype), np.ones(3)
    for step, one in enumerate(losses):
        precision.assert_close(owner.weights({}, None, state, None, None), 1 / average)
        rows = np.array([8, 8, step % 2])
        state = owner.update(state, Seen(one.astype(precision.dtype), rows, None, None, step, None))
        average = np.where(rows > 0, decay * average + (1 - decay) * one, average)


def trained(**changes):
    """What `STEPS` steps leave, and their metrics; rows and labels of each part differ."""
    changes = {"parallel__devices": 1, **changes}
    c = config(
        loss__balancing="equal_losses",
        loss__task_weights="order=3",
        model__architecture="shared_bottom",
        model__dtype="float64",
        optim__table_init=0.5,
        data__batch_size=16,
        data__eval_batch_size=16,
        **changes,
    )
    model, plan = build(c)
    at, state = make_placement(c), create_state(c, model, plan)
    state = jax.device_put(state, at.state(state))
    steps = make_train_chunk(make_train_step(c, model, plan, 100, at.table_mesh), STEPS)
    rng, given = np.random.default_rng(3), batches()
    given = given.replace(
        label_mask=rng.random(given.label_mask.shape) < 0.7,
        row_mask=rng.random(given.row_mask.shape) < 0.8,
    )
    state, metrics = at.compile(steps, state)(state, at.put(given, at.chunk()), STEPS)
    return leaves(state), np.asarray(metrics["task_weights"])


on_one_device = functools.cache(trained)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"train__accumulate": 2}, marks=pytest.mark.nightly),
        pytest.param({"parallel__devices": 8}, marks=pytest.mark.slow),
        pytest.param(
            {"parallel__devices": 2, "parallel__strategy": "pmap", "train__accumulate": 2},
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_the_same_numbers_however_a_batch_is_split(options):
    load("my_balancer")
    with jax.enable_x64(True):
        expected, weights = on_one_device()
        got, other = trained(**options)
    assert (np.abs(weights[1:] - 1) > 1e-3).all()  # it does something
    np.testing.assert_allclose(other, weights, rtol=1e-9)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
