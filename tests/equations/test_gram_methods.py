"""Balancers that combine gradients by their Gram matrix: their equations solved in NumPy, and
answers that are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.balancing import BALANCERS

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

METHODS = ("mgda", "cagrad", "nash_mtl", "aligned_mtl", "imtl_g", "fairgrad", "upgrad")
TASKS, N = (1, 2, 3, 7), 20


@functools.cache
def compiled(name, **options):
    return jax.jit(BALANCERS[name](**options).coefficients)


def from_gram(name, gram, **options):
    return np.asarray(compiled(name, **options)(gram, None, {}, jax.random.key(0)))


def coefficients(name, g, **options):
    g = np.asarray(g, np.float64)
    return from_gram(name, jnp.asarray(g @ g.T), **options)


def gradients(tasks, seed=0, conflict=0):
    """Some in conflict, and of unlike lengths; with a large `conflict`, all but along one line, in
    one direction or the other."""
    rng = np.random.default_rng(seed)
    line = conflict * rng.normal(size=N) * (-1.0) ** np.arange(tasks)[:, None]
    return (rng.normal(size=(tasks, N)) + line) * np.exp(rng.normal(size=(tasks, 1)))


def subsets(tasks):
    return [np.flatnonzero([i >> t & 1 for t in range(tasks)]) for i in range(2**tasks)]


def shortest(gram):
    """The convex combination with the least w G w: the best of those that give some tasks a weight
    and have one product with all of them."""
    best = None
    for some in subsets(len(gram))[1:]:
        x = np.linalg.solve(gram[np.ix_(some, some)], np.ones(len(some)))
        w = np.zeros(len(gram))
        w[some] = x / x.sum()
        if (w >= 0).all() and (best is None or w @ gram @ w < best @ gram @ best):
            best = w
    return best


def projected(gram, unit):
    """argmin of v G v over v >= unit: the best of those where some v are free."""
    best = None
    for free in subsets(len(gram)):
        rest = np.setdiff1d(np.arange(len(gram)), free)
        v = unit.copy()
        v[free] = np.linalg.solve(gram[np.ix_(free, free)], -gram[np.ix_(free, rest)] @ unit[rest])
        if (v >= unit - 1e-12).all() and (best is None or v @ gram @ v < best @ gram @ best):
            best = v
    return best


@pytest.mark.parametrize("conflict", [0, 5])
@pytest.mark.parametrize("tasks", TASKS)
def test_mgda_is_the_shortest_convex_combination(tasks, conflict):
    g = gradients(tasks, conflict=conflict)
    expected = tasks * shortest(g @ g.T) @ g
    allowed = 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(coefficients("mgda", g) @ g, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("c", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("tasks", TASKS)
def test_cagrad_helps_the_worst_task_within_its_ball(tasks, c):
    g = gradients(tasks)
    found = coefficients("cagrad", g, c=c) / tasks
    d, mean = found @ g, g.mean(0)
    radius = c * np.linalg.norm(mean)
    assert np.linalg.norm(d - mean) <= radius * (1 + 1e-8) + 1e-12
    # What any w of the simplex bounds the help of the worst task by: equal only at the optimum.
    w = found - 1 / tasks
    w = w / w.sum() if c else np.eye(tasks)[np.argmin(g @ mean)]
    assert (w > -1e-12).all()
    bound = w @ g @ mean + radius * np.linalg.norm(w @ g)
    allowed = 1e-8 * np.abs(g @ d).max()
    np.testing.assert_allclose((g @ d).min(), bound, rtol=0, atol=allowed)


@pytest.mark.parametrize(("name", "power"), [("nash_mtl", 1.0), ("fairgrad", 0.5)])
@pytest.mark.parametrize("tasks", TASKS)
def test_fair_methods_solve_their_equation(name, power, tasks):
    g = gradients(tasks)
    c, G = coefficients(name, g), g @ g.T
    assert (c > 0).all()
    largest = np.linalg.eigvalsh(G)[-1]
    np.testing.assert_allclose(np.sum((c @ g) ** 2), tasks * largest, rtol=1e-8)
    # (G c)_t c_t^power is the same for all tasks; in Nash-MTL, the largest eigenvalue.
    shares = (G @ c) * c**power
    np.testing.assert_allclose(shares, largest if name == "nash_mtl" else shares[0], rtol=1e-8)


@pytest.mark.parametrize("tasks", TASKS)
def test_aligned_mtls_gradients_are_orthogonal_and_of_one_length(tasks):
    g = gradients(tasks)
    _, singular, right = np.linalg.svd(g, full_matrices=False)
    left = np.linalg.svd(g, full_matrices=False)[0]
    aligned = singular.min() * left @ right
    np.testing.assert_allclose(coefficients("aligned_mtl", g) @ g, aligned.sum(0), rtol=1e-8)


@pytest.mark.parametrize("tasks", TASKS)
def test_imtl_gs_direction_has_one_product_with_all_tasks(tasks):
    g = gradients(tasks)
    c = coefficients("imtl_g", g)
    assert np.isclose(c.sum(), tasks)
    products = g @ (c @ g) / np.linalg.norm(g, axis=1)
    np.testing.assert_allclose(products, products[0], rtol=1e-8)


@pytest.mark.parametrize("conflict", [0, 5, 300])
@pytest.mark.parametrize("tasks", TASKS)
def test_upgrad_adds_the_projections_on_the_dual_cone(tasks, conflict):
    g = gradients(tasks, conflict=conflict)
    gram = g @ g.T
    expected = sum(projected(gram, unit) for unit in np.eye(tasks)) @ g
    direction = coefficients("upgrad", g) @ g
    allowed = 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(direction, expected, rtol=0, atol=allowed)
    assert (g @ direction >= -1e-9 * np.abs(gram).max()).all()  # no task is hurt


@pytest.mark.parametrize("name", METHODS)
def test_known_answers(name):
    """One task keeps its gradient; equal ones theirs; of orthogonal ones of one length none is
    preferred; opposite ones cancel; a task without a gradient moves nothing, nor is anything but
    finite."""
    times = 1.4 if name == "cagrad" else 1.0  # 1 + c
    np.testing.assert_allclose(coefficients(name, [[2.0, 1.0]]), [times], rtol=1e-5)
    np.testing.assert_allclose(coefficients(name, np.eye(3)), np.full(3, times), rtol=1e-5)
    equal = coefficients(name, [[1.0, 2.0], [1.0, 2.0]])
    assert np.isfinite(equal).all()
    assert (equal @ [[1, 2], [1, 2]] > 0).all()
    silent = np.array([[1.0, 0, 0], [0, 0, 0], [0, 2.0, 0]])
    with_one, without = coefficients(name, silent), coefficients(name, silent[[0, 2]])
    assert np.isfinite(with_one).all()
    np.testing.assert_allclose(with_one[[0, 2]], without, rtol=1e-5)
    opposite = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert np.abs(coefficients(name, opposite) @ opposite).max() < 1e-4
    nothing = coefficients(name, np.zeros((3, 2)))
    assert np.isfinite(nothing).all()


@pytest.mark.parametrize("name", METHODS)
def test_float32_is_near_float64(name):
    for seed in range(5):
        g = gradients(7, seed)
        exact = coefficients(name, g) @ g
        c = from_gram(name, jnp.asarray(g @ g.T, jnp.float32))
        assert c.dtype == jnp.float32
        np.testing.assert_allclose(c @ g, exact, atol=0.02 * np.abs(exact).max())


@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
@pytest.mark.parametrize("tasks", [2, 7])
@pytest.mark.parametrize("name", METHODS)
def test_equal_gradients_are_added_in_float32_too(name, tasks, size):
    """Their matrix is singular, and what tells it apart is less than float32 keeps."""
    c = from_gram(name, jnp.full((tasks, tasks), 19.4 * size, jnp.float32))
    times = 1.4 if name == "cagrad" else 1.0  # 1 + c
    np.testing.assert_allclose(c.sum(), times * tasks, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_gradients_that_all_but_vanish_give_numbers(name):
    gram = jnp.asarray(np.cov(gradients(7)) * 1e-39, jnp.float32)  # not normal in float32
    assert np.isfinite(from_gram(name, gram)).all()


def test_imtl_g_goes_against_no_task_where_its_equation_would():
    """v is (1, 1, -10): the third task, much the shortest, lies between the others."""
    g = np.array([[1.0, 0.3, 0.0], [1.0, -0.3, 0.0], [0.01, 0.0, 0.002]])
    v = np.linalg.solve(g @ g.T, np.linalg.norm(g, axis=1))
    assert v.sum() < 0
    np.testing.assert_array_equal(coefficients("imtl_g", g), np.ones(3))
