"""Embeddings of numbers against NumPy, what makes each what it is, and that options are read."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from number_batches import EDGES
from other_values import another

from dtn_jax.errors import UserError
from dtn_jax.field import EMBEDDINGS, SCALED
from dtn_jax.models.build import embeddings_of
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.models.numbers.autodis import AutoDis
from dtn_jax.models.numbers.periodic import Periodic
from dtn_jax.models.numbers.piecewise_linear import PiecewiseLinear, encoded
from dtn_jax.options import declared

D = 3
X = np.array([-3.0, -1.0, -0.9, -0.25, -0.1, 0.0, 0.2, 0.5, 1.0, 2.0, 2.5, 40.0])


def made(kind, dtype=jnp.float64, **options):
    if kind is PiecewiseLinear:
        options = {"edges": EDGES} | options
    return kind(width=D, scale=1.0, dtype=dtype, **options)


def exact(variables):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])


def piecewise_linear(p, x):
    """The definition, case by case."""
    count = len(EDGES) - 1
    total = np.zeros(D)
    for t in range(1, count + 1):
        low, high = EDGES[t - 1], EDGES[t]
        if x < low and t > 1:
            e = 0.0
        elif x >= high and t < count:
            e = 1.0
        else:
            e = (x - low) / (high - low)
        total += e * p["kernel"][t - 1]
    return total


def periodic(p, x):
    v = [2 * np.pi * c * x for c in p["c"]]
    waves = np.array([np.sin(a) for a in v] + [np.cos(a) for a in v])
    return np.maximum(waves @ p["kernel"] + p["bias"], 0)


def autodis(p, x):
    u = p["w"][0] * x
    u = np.where(u > 0, u, 0.01 * u)
    z = (u @ p["W"] + 0.1 * u) / 0.1
    weights = np.exp(z - z.max())
    return sum(w * e for w, e in zip(weights / weights.sum(), p["meta_embeddings"], strict=True))


EXPECTED = {"piecewise_linear": piecewise_linear, "periodic": periodic, "autodis": autodis}


@pytest.mark.parametrize("name", NUMBERS)
def test_against_numpy(name, precision, random_variables):
    x = jnp.asarray(X[:-1], precision.dtype)
    module = made(NUMBERS[name], precision.dtype)
    variables = random_variables(module, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(precision.dtype)}
    got = jax.jit(module.apply)(variables, x)
    p = exact(variables)
    precision.assert_close(got, np.array([EXPECTED[name](p, v) for v in np.asarray(x, float)]))


@pytest.fixture
def drawn(random_variables):
    """(kind, options) -> its function of numbers, in float64, and its parameters."""
    with jax.enable_x64(True):

        def draw(kind, **options):
            module = made(kind, **options)
            variables = random_variables(module, jnp.zeros(1))
            return lambda x: np.asarray(module.apply(variables, jnp.asarray(x))), exact(variables)

        yield draw


def test_piecewise_linear_is_continuous_and_linear_in_each_bin(drawn):
    f, p = drawn(PiecewiseLinear)
    jumps = [f(np.array([b - 1e-9, b, b + 1e-9])) for b in EDGES]
    assert np.ptp(jumps, axis=1).max() < 1e-7
    ends = (-50.0, *EDGES[1:-1], 50.0)  # the outer bins go on
    for t, (low, high) in enumerate(itertools.pairwise(ends)):
        slopes = np.diff(f(np.linspace(low, high, 9)), axis=0) / ((high - low) / 8)
        np.testing.assert_allclose(slopes, np.tile(slopes[:1], (8, 1)), rtol=1e-8)
        np.testing.assert_allclose(slopes[0], p["kernel"][t] / (EDGES[t + 1] - EDGES[t]), rtol=1e-8)
    assert len({*np.diff(f(np.array(EDGES)), axis=0)[:, 0] / np.diff(EDGES)}) == len(EDGES) - 1


def test_what_a_piecewise_linear_code_is():
    with jax.enable_x64(True):
        got = np.asarray(encoded(jnp.asarray(X), EDGES))
    inner = got[:, 1:-1]
    assert inner.min() == 0
    assert inner.max() == 1
    first, *_, last = EDGES
    inside = (first <= X) & (last >= X)
    assert (np.diff(got, axis=1)[inside] <= 0).all()  # 1 ... 1 e 0 ... 0
    with jax.enable_x64(True):
        one = np.asarray(encoded(jnp.asarray(X), (1.0, 3.0)))  # a single bin is a line
    np.testing.assert_allclose(one[:, 0], (X - 1) / 2)


def test_periodic_has_the_period_of_its_frequency(drawn):
    f, p = drawn(Periodic, frequencies=1)
    period = 1 / abs(p["c"][0])
    np.testing.assert_allclose(f(X + period), f(X), atol=1e-10)
    assert np.abs(f(X + period / 3) - f(X)).max() > 1e-3


def test_periodic_begins_with_frequencies_of_deviation_sigma():
    module = made(Periodic, jnp.float32, frequencies=20_000, sigma=3.0)
    c = module.init(jax.random.key(0), jnp.zeros(1))["params"]["c"]
    assert np.std(c) == pytest.approx(3.0, rel=0.02)


def test_autodis_is_a_convex_combination_of_meta_embeddings(drawn):
    f, p = drawn(AutoDis)
    embeddings = p["meta_embeddings"]
    rng = np.random.default_rng(0)
    for direction in rng.normal(size=(50, D)):
        along = embeddings @ direction
        found = f(X) @ direction
        assert (along.min() <= found).all()
        assert (found <= along.max()).all()
    assert np.ptp(f(X), axis=0).min() > 1e-3


def test_autodis_cold_picks_one_and_hot_mixes_all(drawn):
    f, p = drawn(AutoDis, temperature=1e-9)
    distance = np.abs(f(X[X != 0])[:, None] - p["meta_embeddings"][None]).max(axis=-1)
    np.testing.assert_allclose(distance.min(axis=1), 0, atol=1e-12)
    f, p = drawn(AutoDis, temperature=1e9)
    np.testing.assert_allclose(f(X), np.tile(p["meta_embeddings"].mean(axis=0), (len(X), 1)))


@pytest.mark.parametrize("name", NUMBERS)
def test_it_begins_at_the_size_of_a_looked_up_row(name):
    x = np.random.default_rng(0).normal(size=2000)
    x, sizes = jnp.asarray(x, jnp.float32), []
    for seed in range(20):
        module = made(NUMBERS[name], jnp.float32).clone(width=32, scale=0.2)
        variables = module.init(jax.random.key(seed), x)
        sizes.append(np.asarray(module.apply(variables, x)).std(axis=(0, 1)))
    assert 0.2 / 4 < np.mean(sizes) < 0.2 * 2


@pytest.mark.parametrize("name", NUMBERS)
def test_products_run_in_the_models_dtype_and_what_is_fine_in_float32(name, random_variables):
    x = jnp.asarray(X[:-1], jnp.float32)
    module, wide = (made(NUMBERS[name], dtype) for dtype in (jnp.bfloat16, jnp.float32))
    variables = random_variables(module, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    got, expected = module.apply(variables, x), np.asarray(wide.apply(variables, x))
    assert got.dtype == jnp.bfloat16
    error = np.abs(np.asarray(got, np.float32) - expected).max()
    assert 0 < error < 0.03 * np.abs(expected).max()


OPTIONS = [(name, option) for name, kind in NUMBERS.items() for option in declared(kind)]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_changes_it(name, option):
    x, found = jnp.asarray(X, jnp.float32), []
    declaration = declared(NUMBERS[name])[option]
    for value in (None, another(declaration, declaration.default)):
        module = made(NUMBERS[name], jnp.float32, **({} if value is None else {option: value}))
        found.append(np.asarray(module.apply(module.init(jax.random.key(0), x), x)))
    assert not np.array_equal(*found)


def test_the_words_of_fields_are_the_modules():
    assert (SCALED, *NUMBERS) == EMBEDDINGS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age", "unknown model.numbers 'age'. The choices are: scaled, piecewise_linear"),
        ("age=period", "embedding of age 'period'. Did you mean 'periodic'?"),
        ("age=periodic,age=autodis", "'age' is given twice"),
    ],
)
def test_a_choice_that_makes_no_sense(text, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?").replace(".", r"\.")):
        embeddings_of(text)
