"""Which fields GDCN's first cross layer brings together, pair by pair.

The layer adds x * (x W + b) * sigmoid(x V) to x. Of field g's part of x, the block W_fg `[D, D]`
brings in field f, so the pair (f, g) is in the two blocks W_fg and W_gf. Two strengths, each the
root of the sum of the squares of both:

- `norm`: the block's Frobenius norm; what the weights say alone.
- `term`: the root mean square over rows of (x_g - m_g) * ((x_f - m_f) W_fg) * sigmoid(x V)_g, m the
  means over the sample: what the pair adds on data, at the embeddings' size and through the gate,
  beyond functions of one field.

Both see this layer alone: what deeper layers, other experts or the tower make of pairs is not in
them, and a term's size does not say whether a task reads it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import Forward
from dtn_jax.interface import Batch
from dtn_jax.metrics.auc import auc
from dtn_jax.models.groups import ModelInput
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Bool, Float
from dtn_jax.tables.plan import TablePlan

STRENGTHS = ("norm", "term")


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Strengths of a GDCN expert's field pairs.

    Attributes:
      strengths: {norm | term: `[F, F]`}, symmetric, 0 on the diagonal.
      gates: `[F]`, the mean gate of each field's part.
    """

    strengths: dict[str, Float[np.ndarray, "F F"]]
    gates: Float[np.ndarray, " F"]


def pair_strengths(passes: Passes) -> dict[str, Pairs]:
    """{group/gdcn_0: its pairs}, of the experts that read the fields; empty without GDCN."""
    run = passes.run
    size = len(run.schema.read), run.plan.dim
    experts = gdcn_experts(passes.state.params, size[0] * size[1])
    if not experts:
        return {}
    read = make_inputs(run.model, run.plan, experts, run.at.table_mesh)

    def summed(state: State, batch: Batch):
        real = batch.row_mask[:, None, None]
        given = read(state, batch)
        return jax.tree.map(lambda x: jnp.where(real, x, 0).sum(axis=0, keepdims=True), given)

    def squared(state: State, batch: Batch, means):
        return {
            expert: term_squares(layer(state.params, expert), fields, means[expert], batch.row_mask)
            for expert, fields in read(state, batch).items()
        }

    means = jax.tree.map(lambda total: total / passes.count, passes.total(summed))
    found = {}
    for expert, (squares, gates) in passes.total(squared, means).items():
        blocks = {
            "norm": block_norms(layer(passes.state.params, expert)["cross"], size),
            "term": np.sqrt(squares / passes.count),
        }
        strengths = {name: paired(of_block) for name, of_block in blocks.items()}
        found[expert] = Pairs(strengths, gates / passes.count)
    return {expert: found[expert] for expert in experts}


def gdcn_experts(params: Mapping, width: int) -> list[str]:
    """Paths of the GDCN experts whose input has this width, that of all fields."""
    flat = flatten_dict(params, sep="/")
    last = "/cross_0/kernel"
    return [
        path.removesuffix(last)
        for path, kernel in flat.items()
        if path.endswith(last)
        and path.split("/")[-3].startswith("gdcn_")
        and kernel.shape == (width, width)
    ]


def layer(params: Mapping, expert: str) -> dict[str, Array]:
    """W and V of an expert's first cross layer."""
    flat = flatten_dict(params, sep="/")
    return {name: flat[f"{expert}/{name}_0/kernel"] for name in ("cross", "gate")}


def make_inputs(
    model: nn.Module,
    plan: TablePlan,
    experts: Sequence[str],
    mesh: jax.sharding.Mesh | None = None,
):
    """Returns `(state, batch) -> {expert: [B, F, D]}`, what each expert reads."""
    forward = Forward(model, plan, mesh)

    def read(state: State, batch: Batch) -> dict[str, Float[Array, "B F D"]]:
        _, seen = forward.apply(
            state,
            forward.inputs(state, batch),
            capture_intermediates=lambda module, _: isinstance(module, ModelInput),
            mutable=["intermediates"],
        )
        given = {name: of["__call__"][0] for name, of in seen["intermediates"].items()}
        own = {e: f"input_{e.partition('/')[0].removeprefix('level_0_')}" for e in experts}
        # `input`, or where a group has a view of its own `input_GROUP`
        return {e: given.get(own[e], given.get("input")) for e in experts}

    return read


def term_squares(
    kernels: Mapping[str, Array],
    fields: Float[Array, "B F D"],
    means: Float[Array, "1 F D"],
    real: Bool[Array, " B"],
) -> tuple[Float[Array, "F F"], Float[Array, " F"]]:
    """Sums over the real rows: squares of the terms [from f, of g], and mean gates [g]."""
    count, width = fields.shape[1:]
    gate = nn.sigmoid(fields.reshape(len(fields), -1) @ kernels["gate"]).reshape(fields.shape)
    gate = jnp.where(real[:, None, None], gate, 0)
    away = fields - means

    def from_field(f):
        block = jax.lax.dynamic_slice_in_dim(kernels["cross"], f * width, width)
        brought = (away[:, f] @ block).reshape(fields.shape)
        return jnp.square(away * brought * gate).sum(axis=(0, 2))

    squares = jax.lax.map(from_field, jnp.arange(count))
    return squares, gate.mean(axis=2).sum(axis=0)


def block_norms(kernel: Float[Array, "W W"], size: tuple[int, int]) -> Float[np.ndarray, "F F"]:
    """The Frobenius norm of the block between each two fields; `size` is (fields, width)."""
    blocks = np.asarray(kernel, np.float64).reshape(*size, *size)
    return np.sqrt((blocks**2).sum(axis=(1, 3)))


def paired(blocks: Float[np.ndarray, "F F"]) -> Float[np.ndarray, "F F"]:
    """One strength a pair, both directions as √(a² + b²); 0 of a field with itself."""
    both = np.sqrt(blocks.astype(np.float64) ** 2 + blocks.T.astype(np.float64) ** 2)
    np.fill_diagonal(both, 0)
    return both


def found_pairs(
    strengths: Float[np.ndarray, "F F"],
    fields: Sequence[str],
    known: Sequence[tuple[str, str]],
) -> dict[str, float | int | None]:
    """How well strengths rank the known pairs above the others.

    Returns:
      `auc` over all pairs (None where none is known); how many are `known`, and how many of the
      so many strongest are, `found`.
    """
    rows, columns = np.triu_indices(len(fields), 1)
    wanted = {frozenset(pair) for pair in known}
    names = [frozenset((fields[i], fields[j])) for i, j in zip(rows, columns)]
    is_known = np.array([name in wanted for name in names])
    scores = strengths[rows, columns]
    top = np.argsort(-scores, kind="stable")[: is_known.sum()]
    return {
        "auc": auc(scores, is_known),
        "known": int(is_known.sum()),
        "found": int(is_known[top].sum()),
    }
