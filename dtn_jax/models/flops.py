"""The size of a model, counted and not estimated: parameters, and forward FLOPs an example.

FLOPs are those of matrix products and convolutions, 2 a multiply-add. Elementwise work is left
out: it is small beside them, and how much of it there is depends on the compiler.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import linen as nn
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from dtn_jax.interface import Inputs


class Size(NamedTuple):
    """Dense parameters (tables are not the module's), and forward FLOPs an example."""

    parameters: int
    flops_per_example: int


def count(module: nn.Module, inputs: Inputs) -> Size:
    """The size of an architecture on inputs of these shapes; nothing is computed.

    `inputs` may be abstract: `jax.eval_shape` of what makes them.
    """
    init = functools.partial(module.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), inputs)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    flops = forward_flops(lambda v, i: module.apply(v, i, train=False).logits, variables, inputs)
    return Size(parameters, flops // inputs.row_mask.shape[0])


def forward_flops(fn: Callable, *args) -> int:
    """FLOPs of the matrix products and convolutions in `fn(*args)`; args may be abstract.

    A `cond` counts as its dearest branch, a `scan` as its body times its length.

    Raises:
      ValueError: a product inside a `while` loop, whose number of rounds cannot be known.
    """
    return _jaxpr_flops(jax.make_jaxpr(fn)(*args).jaxpr)


def _jaxpr_flops(jaxpr: Jaxpr) -> int:
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: JaxprEqn) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        products = math.prod(left[axis] for axis in contracted)
        return 2 * products * equation.outvars[0].aval.size
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        outputs = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
        return 2 * (kernel.size // outputs) * equation.outvars[0].aval.size
    inner = [_jaxpr_flops(jaxpr) for jaxpr in jaxprs_in_params(equation.params)]
    if name == "cond":
        return max(inner)
    if name == "scan":
        return equation.params["length"] * sum(inner)
    if name == "while" and sum(inner):
        raise ValueError("cannot count the FLOPs of a matrix product inside a while loop")
    return sum(inner)
