"""Products that XLA's compiler for GPUs makes one of: those of one input.

It packs their weights side by side, and takes their outputs apart again.
"""

from __future__ import annotations

import collections
import math

import jax
from flax import linen as nn

from dtn_jax.state import example_inputs
from dtn_jax.tables.plan import TablePlan

ROWS = 8
SAME = ("reshape", "convert_element_type", "squeeze", "stop_gradient", "copy")  # the same input


def largest_merged(model: nn.Module, tables: TablePlan) -> tuple[int, int]:
    """Numbers an example of the outputs, and numbers of the weights, of the largest such group in
    the forward pass."""
    inputs = jax.eval_shape(lambda: example_inputs(tables, ROWS))
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda k, i: model.init(k, i, train=False), key, inputs)
    traced = jax.make_jaxpr(lambda v, i: model.apply(v, i, train=False))(variables, inputs)
    outputs, weights = collections.Counter(), collections.Counter()
    _walk(traced.jaxpr, {}, outputs, weights)
    if not outputs:
        return 0, 0
    source = max(outputs, key=outputs.get)
    return outputs[source] // ROWS, weights[source]


def _walk(jaxpr, source: dict, outputs, weights) -> None:
    """Adds up the products of each input; `source` says what a variable is a reshape of."""

    def of(variable):
        number = hasattr(variable, "val")
        return None if number else source.get(variable, variable)

    for equation in jaxpr.eqns:
        inner = [p for p in equation.params.values() if hasattr(p, "eqns") or hasattr(p, "jaxpr")]
        if equation.primitive.name == "dot_general":
            left, right = equation.invars
            outputs[of(left)] += math.prod(equation.outvars[0].aval.shape)
            weights[of(left)] += math.prod(right.aval.shape)
        elif equation.primitive.name in SAME:
            source[equation.outvars[0]] = of(equation.invars[0])
        elif len(inner) == 1:
            called = getattr(inner[0], "jaxpr", inner[0])
            given = equation.invars[len(equation.invars) - len(called.invars) :]
            within = {own: of(outer) for own, outer in zip(called.invars, given)}
            known = set(within.values())
            _walk(called, within, outputs, weights)
            for outer, own in zip(equation.outvars, called.outvars):
                if own in within and within[own] in known:  # it comes out as it went in
                    source[outer] = within[own]
