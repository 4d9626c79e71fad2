"""Balancers that combine gradients by their Gram matrix: their equations, by scipy's solvers, and
answers that are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

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


def gradients(tasks, seed=0):
    """Some in conflict, and of unlike lengths."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(tasks, N)) * np.exp(rng.normal(size=(tasks, 1)))


def least(function, tasks):
    """The simplex's point with the least value of a function, by SLSQP from several starts."""
    on_simplex = {"type": "eq", "fun": lambda w: w.sum() - 1}
    starts = [np.full(tasks, 1 / tasks), *np.eye(tasks)]
    found = [
        minimize(
            function,
            start,
            bounds=[(0, 1)] * tasks,
            constraints=on_simplex,
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        for start in starts
    ]
    return min(result.fun for result in found)


@pytest.mark.parametrize("tasks", TASKS)
def test_mgda_is_the_shortest_convex_combination(tasks):
    g = gradients(tasks)
    w = coefficients("mgda", g) / tasks
    assert (w >= 0).all()
    assert np.isclose(w.sum(), 1)
    gram = g @ g.T
    shortest = least(lambda w: w @ gram @ w, tasks)
    np.testing.assert_allclose(w @ gram @ w, shortest, rtol=1e-6)
    # KKT: g_w has the same product with every task that has a weight, and a larger one elsewhere.
    assert (gram @ w >= w @ gram @ w * (1 - 1e-8)).all()


@pytest.mark.parametrize("c", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("tasks", TASKS)
def test_cagrad_helps_the_worst_task_within_its_ball(tasks, c):
    g = gradients(tasks)
    d = coefficients("cagrad", g, c=c) @ g / tasks
    mean = g.mean(0)
    radius = c * np.linalg.norm(mean)
    assert np.linalg.norm(d - mean) <= radius * (1 + 1e-8) + 1e-12
    # The dual: the least g_w·g_0 + c |g_0| |g_w| is the most that the worst task can be helped.
    dual = least(lambda w: w @ g @ mean + radius * np.linalg.norm(w @ g), tasks)
    np.testing.assert_allclose((g @ d).min(), dual, rtol=1e-5, atol=1e-9)


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


@pytest.mark.parametrize("tasks", TASKS)
def test_upgrad_adds_the_projections_on_the_dual_cone(tasks):
    g = gradients(tasks)
    gram, expected = g @ g.T, 0
    for unit in np.eye(tasks):
        found = minimize(
            lambda v: v @ gram @ v,
            unit + 0.1,
            jac=lambda v: 2 * gram @ v,
            bounds=[(u, None) for u in unit],
            options={"ftol": 1e-16, "gtol": 1e-12, "maxiter": 10_000},
        )
        expected = expected + found.x
    direction = coefficients("upgrad", g) @ g
    np.testing.assert_allclose(direction, expected @ g, rtol=1e-5, atol=1e-5)
    assert (g @ direction >= -1e-9).all()  # no task is hurt


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
