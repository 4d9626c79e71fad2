"""Balancers that weigh losses, and those with a state: by their equations in NumPy, step by step,
and answers that are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from dtn_jax.balancing import BALANCERS
from dtn_jax.balancing.balancer import Seen
from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

METHODS = ("dwa", "rlw", "gls", "stch", "gradnorm")
TASKS, STEPS, N = (1, 2, 3, 7), 12, 20


def key(step):
    return jax.random.fold_in(jax.random.key(0), step)


def played(name, losses, g=None, rows=None, **options):
    """A balancer's weights and coefficients `[N, T]` in steps with these losses `[N, T]`.

    Args:
      name: of the balancer.
      losses: of the steps.
      g: `[N, T, D]`, the gradients of the losses as they are; the balancer sees them weighted.
      rows: `[N, T]`, how many count; 1 without.
      options: of the balancer.
    """
    count, tasks = losses.shape
    g = np.ones((count, tasks, 1)) if g is None else g
    rows = np.ones(losses.shape, int) if rows is None else rows
    w, c = program(name, tasks, **options)(jnp.arange(count), *map(jnp.asarray, (losses, g, rows)))
    return np.asarray(w), np.asarray(c)


@functools.cache
def program(name, tasks, **options):
    """The steps of a balancer, compiled once."""
    method = BALANCERS[name](**options)
    names = tuple(Task(f"task{t}") for t in range(tasks))

    def step(state, given):
        i, losses, g, rows = given
        read = losses if method.reads_losses else None
        w = jnp.where(rows > 0, method.weights({}, read, state, key(i), names), 0)
        g = w[:, None] * g
        gram = g @ g.T
        c = method.coefficients(gram, losses, state, key(i))
        seen = Seen(losses, rows, jnp.sqrt(jnp.diag(gram)), gram, i, key(i))
        return method.update(state, seen), (w, c)

    return jax.jit(lambda *given: jax.lax.scan(step, method.init_state(names), given)[1])


def drawn(tasks, seed=0):
    """Losses and gradients of steps, in conflict, and of unlike sizes."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=tasks))
    losses = sizes * (0.5 + rng.random((STEPS, tasks)))
    return losses, sizes[:, None] * rng.normal(size=(STEPS, tasks, N))


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("tasks", TASKS)
def test_dwa_compares_the_mean_losses_of_two_periods(tasks):
    losses, _ = drawn(tasks)
    w, _ = played("dwa", losses, period=3, temperature=0.7)
    means = losses.reshape(-1, 3, tasks).mean(1)
    for step in range(STEPS):
        done = step // 3
        r = means[done - 1] / means[done - 2] if done >= 2 else np.ones(tasks)
        close(w[step], tasks * softmax(r / 0.7))


@pytest.mark.parametrize("tasks", TASKS)
def test_rlw_draws_weights_at_every_step(tasks):
    w, _ = played("rlw", drawn(tasks)[0])
    for step in range(STEPS):
        close(w[step], tasks * softmax(np.asarray(jax.random.normal(key(step), (tasks,)))))
    assert tasks == 1 or np.ptp(w, axis=0).min() > 0.1


@pytest.mark.parametrize("tasks", TASKS)
def test_gls_descends_the_geometric_mean(tasks):
    losses, _ = drawn(tasks)
    w, _ = played("gls", losses)
    close(w, np.prod(losses, 1, keepdims=True) ** (1 / tasks) / losses)


@pytest.mark.parametrize("mu", [1.0, 0.2])
@pytest.mark.parametrize("tasks", TASKS)
def test_stch_descends_a_smooth_maximum_of_log_losses(tasks, mu):
    losses, _ = drawn(tasks)
    w, _ = played("stch", losses, mu=mu, warmup=4)
    close(w[:4], 1 / losses[:4])
    first = losses[:4].mean(0)

    def descended(L):
        return tasks * mu * logsumexp(np.log(L / first) / mu)

    for step in range(4, STEPS):
        close(w[step], tasks * softmax(np.log(losses[step] / first) / mu) / losses[step])
        moved = losses[step] * (1 + 1e-6 * np.eye(tasks))
        slope = [(descended(L) - descended(losses[step])) / 1e-6 for L in moved]
        np.testing.assert_allclose(w[step] * losses[step], slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tasks", TASKS)
def test_gradnorm_descends_the_distance_of_lengths(tasks):
    losses, g = drawn(tasks)
    got, _ = played("gradnorm", losses, g, alpha=1.2, rate=0.1)
    w = np.ones(tasks)
    for step in range(STEPS):
        close(got[step], w)
        lengths = np.linalg.norm(w[:, None] * g[step], axis=1)
        ratio = losses[step] / losses[0]
        target = lengths.mean() * (ratio / ratio.mean()) ** 1.2
        slope = np.sign(lengths - target) * lengths / lengths.mean()  # by log w
        w = w * np.exp(-0.1 * slope)
        w *= tasks / w.sum()


def vaccinated(g, usual, orders):
    """GradVac on gradients [T, N], as the paper's Algorithm 1 writes it down, and the cosines."""
    result, cosines = np.zeros_like(g[0]), np.zeros_like(usual)
    for i, order in enumerate(orders):
        v = g[i].copy()
        for j in order[order != i]:
            norm, other, rho = np.linalg.norm(v), np.linalg.norm(g[j]), usual[i, j]
            phi = cosines[i, j] = v @ g[j] / norm / other
            if phi < rho:
                by = norm * (rho * np.sqrt(1 - phi**2) - phi * np.sqrt(1 - rho**2))
                v += by / (other * np.sqrt(1 - rho**2)) * g[j]
        result += v
    return result, cosines


@pytest.mark.parametrize("tasks", TASKS)
def test_gradvac_turns_gradients_to_their_usual_cosines(tasks):
    losses, g = drawn(tasks)
    _, c = played("gradvac", losses, g, beta=0.3)
    usual, turned = np.zeros((tasks, tasks)), False
    for step, (one, got) in enumerate(zip(g, c)):
        keys = jax.random.split(key(step), tasks)
        orders = [np.asarray(jax.random.permutation(k, tasks)) for k in keys]
        expected, cosines = vaccinated(one, usual, orders)
        close(got @ one, expected)
        turned |= ((usual > 0) & (cosines < usual)).any()
        usual = 0.7 * usual + 0.3 * cosines
    assert turned or tasks < 3  # of two, none is below a usual cosine that is positive


def test_gradvac_of_equal_opposite_and_absent_gradients():
    """With a cosine of almost 1 to go back to, in the last step."""
    g = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    g = np.stack([g] * 30 + [[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]])
    _, c = played("gradvac", np.ones((31, 3)), g, beta=1.0)
    close(c[:30], np.ones((30, 3)))
    assert np.isfinite(c).all()
    assert c[-1, 2] == 1


@pytest.mark.parametrize("name", METHODS)
def test_known_answers(name):
    """One task keeps its loss (stch: its logarithm); equal tasks are weighed alike; a task without
    a row has no weight, and then its own again."""
    losses, g = drawn(1)
    w, c = played(name, losses, g)
    close(c, np.ones((STEPS, 1)))
    close(w, 1 / losses if name == "stch" else np.ones((STEPS, 1)))
    losses, g = (np.repeat(array, 3, axis=1) for array in (losses, g))
    if name != "rlw":
        w, _ = played(name, losses, g)
        close(w, np.repeat(w[:, :1], 3, axis=1))
    losses, g = drawn(3)
    rows = np.ones((STEPS, 3), int)
    rows[[0, 1, 6], 1] = 0
    losses, g = np.where(rows, losses, 0), np.where(rows[..., None], g, 0)
    w, _ = played(name, losses, g, rows)
    assert np.isfinite(w).all()
    assert (w[rows == 0] == 0).all()
    assert (w[rows > 0] > 0).all()
    silent, _ = played(name, np.zeros_like(losses), 0 * g, 0 * rows)
    assert (silent == 0).all()


@pytest.mark.parametrize("name", ["dwa", "stch"])
def test_steps_without_a_row_are_in_no_mean(name):
    """With one loss in all steps that have a row, nothing is worse than it was."""
    rows = np.random.default_rng(0).random((STEPS, 2)) < 0.6
    rows[:, 0] = True
    options = {"period": 3} if name == "dwa" else {"warmup": 4}
    w, _ = played(name, np.where(rows, [2.0, 3.0], 0), None, rows.astype(int), **options)
    expected = 1.0 if name == "dwa" else 1 / np.array([2.0, 3.0])
    both = rows.all(axis=1)
    assert both[4:].sum() > 2
    close(w[both], np.broadcast_to(expected, (both.sum(), 2)))
