"""Embeddings of numbers against NumPy, and what makes each what it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import exact

from dtn_jax.errors import UserError
from dtn_jax.field import EMBEDDINGS, SCALED
from dtn_jax.models.build import embeddings_of
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.models.numbers.periodic import Periodic
from dtn_jax.models.numbers.piecewise_linear import PiecewiseLinear, encoded

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

EDGES = (-1.0, -0.25, 0.0, 0.5, 2.0)
D = 3
X = np.array([-3.0, -1.0, -0.9, -0.25, -0.1, 0.0, 0.2, 0.5, 1.0, 2.0, 2.5, 40.0])


def made(kind, dtype=jnp.float64, **options):
    if kind is PiecewiseLinear:
        options = {"edges": EDGES} | options
    return kind(width=D, scale=1.0, dtype=dtype, **options)


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


@pytest.fixture
def drawn(random_variables):
    """(kind, options) -> its function of numbers, in float64, and its parameters."""

    def draw(kind, **options):
        module = made(kind, **options)
        variables = random_variables(module, jnp.zeros(1))
        apply = jax.jit(module.apply)
        return lambda x: np.asarray(apply(variables, x)), exact(variables["params"])

    return draw


@pytest.mark.parametrize("name", NUMBERS)
def test_against_numpy(name, drawn):
    f, p = drawn(NUMBERS[name])
    expected = np.array([EXPECTED[name](p, v) for v in X])
    np.testing.assert_allclose(f(X), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_a_single_bin_is_a_line():
    one = np.asarray(jax.jit(encoded, static_argnums=1)(X, (1.0, 3.0)))
    np.testing.assert_allclose(one[:, 0], (X - 1) / 2)


def test_periodic_begins_with_frequencies_of_deviation_sigma():
    module = made(Periodic, jnp.float32, frequencies=20_000, sigma=3.0)
    c = jax.jit(module.init)(jax.random.key(0), jnp.zeros(1))["params"]["c"]
    assert np.std(c) == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("name", NUMBERS)
def test_it_begins_at_the_size_of_a_looked_up_row(name):
    x = np.random.default_rng(0).normal(size=2000).astype("f4")
    module = made(NUMBERS[name], jnp.float32).clone(width=32, scale=0.2)
    start = jax.jit(lambda key: module.init_with_output(key, jnp.asarray(x))[0])
    sizes = [np.asarray(start(jax.random.key(seed))).std(axis=(0, 1)) for seed in range(20)]
    assert 0.2 / 4 < np.mean(sizes) < 0.2 * 2


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
