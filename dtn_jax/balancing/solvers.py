"""Small convex problems over a Gram matrix of T tasks, solved inside of a step.

T is a handful, so an iteration costs next to nothing beside the model. All work on a matrix scaled
to a trace of T: what comes out does not depend on the gradients' size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dtn_jax.shapes import Array, Float

BARRIERS = 60  # steps of Newton's method on a barrier that falls from 1 to LAST, or to `ridge`
LAST = 1e-9
INTERIOR = 40  # steps of the interior-point method
CENTRE = 0.1  # what a step aims at, of the mean product that it begins with
NEWTON = 50  # damped steps

Curve = Callable[[Array], tuple[Array, Array]]  # weights -> gradient [T] and Hessian [T, T]


def scaled(gram: Float[Array, "T T"]) -> Float[Array, "T T"]:
    """The matrix times a number, so that its trace is T; zeros stay."""
    trace = jnp.trace(gram)
    there = trace > len(gram) * jnp.finfo(gram.dtype).tiny  # of less the inverse overflows
    return gram * jnp.where(there, len(gram) / jnp.where(there, trace, 1), 0)


def ridge(dtype: Any) -> float:
    """What is added to a diagonal where a problem might have no optimum: next to nothing."""
    return 10 * float(jnp.finfo(dtype).eps)


def on_simplex(curve: Curve, has: Array, dtype: Any) -> Float[Array, " T"]:
    """The weights w >= 0, Σ w = 1, with the least value of a smooth convex function.

    By the barrier method (Boyd & Vandenberghe 2004, section 11.3): Newton's method on the function
    less b Σ log w, b falling with each step.

    Args:
      curve: the function's gradient and Hessian.
      has: `[T]`; where False the weight is 0.
      dtype: of the weights.
    """
    size = len(has)
    inside = has[:, None] & has[None]
    # Equal gradients leave a flat direction, in which float32 would divide by 0: steps, not the
    # optimum, are a little shorter for it.
    damping, last = ridge(dtype), jnp.asarray(min(LAST, ridge(dtype)), dtype)

    def step(i, w):
        slope, curvature = curve(w)
        barrier = last ** (i / (BARRIERS - 1)).astype(dtype)
        slope = jnp.where(has, slope - barrier / w, 0)
        curvature = jnp.where(
            inside, curvature + jnp.diag(barrier / w**2 + damping), jnp.eye(size, dtype=dtype)
        )
        border = has.astype(dtype)[None]
        corner = jnp.zeros((1, 1), dtype)
        system = jnp.block([[curvature, border.T], [border, corner]])
        move = jnp.linalg.solve(system, jnp.append(-slope, 0))[:-1]
        nearest = jnp.max(jnp.where(has & (move < 0), -move / w, 0))  # to a weight of 0
        return w + jnp.minimum(1, 0.95 / jnp.maximum(nearest, 1e-30)) * move

    start = jnp.full(size, 1 / jnp.maximum(has.sum(), 1), dtype)
    w = jnp.where(has, jax.lax.fori_loop(0, BARRIERS, step, start), 0)
    return w / jnp.maximum(w.sum(), 1e-30)


def above(gram: Float[Array, "T T"], least: Float[Array, " T"]) -> Float[Array, " T"]:
    """argmin of v^T G v over v >= least, for a matrix with a diagonal of 1.

    By a primal-dual interior-point method (Wright 1997, chapter 1): steps of Newton's method to
    s y = m, where s = v - least and y = G v are above 0, and m falls to 0. A ridge keeps what has
    no optimum, such as the weights of opposite gradients, finite.
    """
    G = gram + ridge(gram.dtype) * jnp.eye(len(gram), dtype=gram.dtype)
    smallest = ridge(gram.dtype) ** 2

    def step(_, pair):
        s, y = pair
        m = jnp.maximum(CENTRE * jnp.mean(s * y), smallest)
        move = jnp.linalg.solve(G + jnp.diag(y / s), m / s - G @ (s + least))
        rise = m / s - y - y / s * move
        nearest = jnp.max(jnp.maximum(-move / s, -rise / y))  # to an s or a y of 0
        length = jnp.minimum(1, 0.95 / jnp.maximum(nearest, 1e-30))
        return s + length * move, y + length * rise

    start = jnp.ones_like(least)
    return least + jax.lax.fori_loop(0, INTERIOR, step, (start, start))[0]


def fair(gram: Float[Array, "T T"], power: float) -> Float[Array, " T"]:
    """The w > 0 with (G w)_t = w_t^-power times a number; 0 for tasks without a gradient.

    It is the optimum of a convex problem, found by damped steps of Newton's method. A ridge keeps
    the weights of opposite gradients finite. The number is such that Σ_t w_t g_t has the length
    sqrt(T λ), T the tasks with a gradient and λ the largest eigenvalue of G: that of the plain sum
    where gradients are equal, or orthogonal and of one length.
    """
    G = scaled(gram)
    has = jnp.diag(G) > 0
    G = G + jnp.diag(jnp.where(has, ridge(G.dtype) * jnp.diag(G), 1))

    def step(_, w):
        residual = G @ w - w**-power
        move = jnp.linalg.solve(G + jnp.diag(power * w ** (-power - 1)), residual)
        nearest = jnp.max(jnp.where(move > 0, move / w, 0))
        return w - jnp.minimum(1, 0.9 / jnp.maximum(nearest, 1e-30)) * move

    w = jnp.where(has, jax.lax.fori_loop(0, NEWTON, step, jnp.ones(len(G), G.dtype)), 0)
    wanted = has.sum() * jnp.linalg.eigvalsh(scaled(gram))[-1]
    return w * jnp.sqrt(wanted / jnp.maximum(w @ G @ w, 1e-30))
