"""What JAX keeps of the forward pass for the backward pass, from shapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.state import example_inputs
from dtn_jax.tables.plan import TablePlan


def bytes_of(shapes) -> int:
    """Of arrays or their shapes; keys and scalars count little, and count."""
    arrays = [
        a for a in jax.tree.leaves(shapes) if not jnp.issubdtype(a.dtype, jax.dtypes.extended)
    ]
    return sum(a.size * a.dtype.itemsize for a in arrays)


def saved_bytes(config: ConfigDict, model: nn.Module, tables: TablePlan) -> int:
    """Bytes an example of what JAX saves in the forward pass for the backward pass."""

    def saved(rows: int) -> int:
        inputs = jax.eval_shape(lambda: example_inputs(tables, rows))
        key = jax.eval_shape(lambda: jax.random.key(0))
        variables = jax.eval_shape(lambda k, i: model.init(k, i, train=False), key, inputs)

        def residuals(variables, inputs, key):
            def outputs(params, fields, codewords):
                made, _ = model.apply(
                    {**variables, "params": params},
                    inputs.replace(fields=fields, codewords=codewords),
                    train=True,
                    rngs={"dropout": key},
                    mutable=["batch_stats"],
                )
                return made.logits, made.aux

            return jax.vjp(outputs, variables["params"], inputs.fields, inputs.codewords)[1]

        return bytes_of(jax.eval_shape(residuals, variables, inputs, key))

    return (saved(16) - saved(8)) // 8  # parameters are among them: those don't grow
