"""Which fields GDCN's first cross layer brings together, pair by pair.

The layer adds x * (x W + b) * sigmoid(x V) to x. Of field g's part of x, the block W_fg `[D, D]`
brings in field f, so the pair (f, g) is in the two blocks W_fg and W_gf. Its strength is the root
of the sum of the squares of both terms

    the root mean square over rows of (x_g - m_g) * ((x_f - m_f) W_fg) * sigmoid(x V)_g,

m the means over the sample: what the pair adds on data, at the embeddings' size and through the
gate, beyond functions of one field.

It sees this layer alone: what deeper layers, other experts or the tower make of pairs is not in it,
and a term's size does not say whether a task reads it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import Forward
from dtn_jax.interface import SHARED, Batch
from dtn_jax.models.groups import ModelInput
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Bool, Float

TOP = 15  # pairs of an expert that are named


def strongest(passes: Passes) -> list[dict]:
    """A row a GDCN expert and each of its TOP strongest pairs of fields; empty without GDCN."""
    fields = passes.run.schema.read_names
    if len(fields) < 2:
        return []
    groups, table = [*passes.run.schema.task_names, SHARED], []
    every = pair_strengths(passes)
    for expert in sorted(every, key=lambda expert: groups.index(group_of(expert))):
        strength = every[expert]
        pairs = sorted(itertools.combinations(range(len(fields)), 2), key=lambda at: -strength[at])
        for i, j in pairs[:TOP]:
            row = {"expert": expert, "pair": f"{fields[i]} × {fields[j]}"}
            table.append(row | {"strength": float(strength[i, j])})
    return table


def pair_strengths(passes: Passes) -> dict[str, Float[np.ndarray, "F F"]]:
    """{group/gdcn_0: strengths, symmetric}, of the experts that read the fields."""
    kernels = gdcn_kernels(passes.state.params, len(passes.run.schema.read) * passes.run.plan.dim)
    if not kernels:
        return {}
    read = make_inputs(passes.forward, list(kernels))

    def summed(state: State, batch: Batch):
        real = batch.row_mask[:, None, None]
        given = read(state, batch)
        return jax.tree.map(lambda x: jnp.where(real, x, 0).sum(axis=0, keepdims=True), given)

    def squared(state: State, batch: Batch, means, kernels):
        return {
            expert: term_squares(*kernels[expert], fields, means[expert], batch.row_mask)
            for expert, fields in read(state, batch).items()
        }

    means = jax.tree.map(lambda total: total / passes.count, passes.total(summed))
    squares = passes.total(squared, means, kernels)
    return {
        expert: np.sqrt((square + square.T).astype(np.float64) / passes.count)
        for expert, square in squares.items()
    }


def group_of(expert: str) -> str:
    """Whose a GDCN expert on the fields is: `click/gdcn_0`, `level_0_click/gdcn_0`: click's."""
    return expert.partition("/")[0].removeprefix("level_0_")


def gdcn_kernels(params: Mapping, width: int) -> dict[str, tuple[Array, Array]]:
    """{group/gdcn_0: W and V of the first cross layer}, of those whose input has this width, that
    of all fields."""
    flat, last = flatten_dict(params, sep="/"), "/cross_0/kernel"
    return {
        path.removesuffix(last): (kernel, flat[path.replace("/cross_0/", "/gate_0/")])
        for path, kernel in flat.items()
        if path.endswith(last)
        and path.split("/")[-3].startswith("gdcn_")
        and kernel.shape == (width, width)
    }


def make_inputs(forward: Forward, experts: Sequence[str]):
    """Returns `(state, batch) -> {expert: [B, F, D]}`, what each expert reads."""

    def read(state: State, batch: Batch) -> dict[str, Float[Array, "B F D"]]:
        _, seen = forward.apply(
            state,
            forward.inputs(state, batch),
            capture_intermediates=lambda module, _: isinstance(module, ModelInput),
            mutable=["intermediates"],
        )
        given = {name: of["__call__"][0] for name, of in seen["intermediates"].items()}
        own = {e: f"input_{group_of(e)}" for e in experts}
        # `input`, or where a group has a view of its own `input_GROUP`
        return {e: given.get(own[e], given.get("input")) for e in experts}

    return read


def term_squares(
    cross: Float[Array, "W W"],
    gate: Float[Array, "W W"],
    fields: Float[Array, "B F D"],
    means: Float[Array, "1 F D"],
    real: Bool[Array, " B"],
) -> Float[Array, "F F"]:
    """Sums over the real rows of the squares of the terms [from f, of g]."""
    count, width = fields.shape[1:]
    opened = nn.sigmoid(fields.reshape(len(fields), -1) @ gate).reshape(fields.shape)
    opened = jnp.where(real[:, None, None], opened, 0)
    away = fields - means

    def from_field(f):
        block = jax.lax.dynamic_slice_in_dim(cross, f * width, width)
        brought = (away[:, f] @ block).reshape(fields.shape)
        return jnp.square(away * brought * opened).sum(axis=(0, 2))

    return jax.lax.map(from_field, jnp.arange(count))
