"""The examples of pages: short, on a page, and right against NumPy, or on the same log."""

import itertools
import pathlib
import shlex
import subprocess
import types

import given
import jax
import jax.numpy as jnp
import numpy as np
import page_commands
import polars as pl
import pytest
from built_models import PAIR, F, dense, mlp, relu, softmax, tower, weighted

from dtn_jax.balancing.balancer import Seen
from dtn_jax.cli import prepare
from dtn_jax.config import plugins
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import read
from dtn_jax.losses.cross_entropy import CrossEntropy
from dtn_jax.metrics import Rows

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
LONGEST = 42  # lines that a reader takes in at once
EXAMPLES = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
# Other pages may have files of the same names.
NAMES = ("start", "extend", "export", "coming_from")
PAGES = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in NAMES)]
OTHERS = {("start.md", "my_table.py"): "log_table.py"}  # under another name


def load(*names: str):
    """Loads examples as plug-ins; what the last one defines."""
    plugins.load(",".join(str(FOLDER / f"{name}.py") for name in names))
    kind, name = KINDS[names[-1]]
    return plugins.KINDS[kind].members[name]


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


def test_what_others_read_is_the_log_that_dtn_jax_reads(tmp_path, monkeypatch):
    """docs/coming_from.md: the same rows in each split, the same columns and labels."""
    monkeypatch.chdir(tmp_path)
    given.logs(types.SimpleNamespace(folder=tmp_path))
    page = page_commands.blocks((ROOT / "docs/coming_from.md").read_text())
    infer, edit, to_prepare, *_ = next(b.text for b in page if "--infer" in b.text).splitlines()
    prepare.main(shlex.split(infer)[2:])
    subprocess.run(["bash", "-ec", edit], check=True)
    prepare.main(shlex.split(to_prepare)[2:])
    data = read(tmp_path / "data/logs/shop/1.0.0")
    rechub, fuxi = {"pl": pl}, {"pl": pl}
    exec(part("from_rechub.py", "IDS, LABELS", "train_dl, "), rechub)
    exec(part("from_fuxictr.py", "log, day", "made = "), fuxi)
    fields = [name for f in fuxi["fields"] for name in np.atleast_1d(f["name"])]
    assert {*data.schema.field_names} == {*rechub["x"]} == {*fields}
    labels = [*data.schema.task_names]
    assert labels == rechub["LABELS"] == [label["name"] for label in fuxi["labels"]]
    sides = {"train": ("y", "train"), "validation": ("y_val", "valid"), "test": ("y_test", "test")}
    for split, (ours, theirs) in sides.items():
        rows = SplitReader(data, split).everything()
        assert len(rows.labels) == len(rechub[ours])
        frame = pl.read_parquet(f"{theirs}.parquet")
        for there in (rechub[ours], frame[labels].to_numpy()):
            np.testing.assert_array_equal(rows.labels.sum(axis=0), there.sum(axis=0))


def part(name: str, first: str, end: str) -> str:
    """What an example's lines say from one to another."""
    return EXAMPLES[name][EXAMPLES[name].index(first) : EXAMPLES[name].index(end)]


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
