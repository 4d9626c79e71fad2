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
from dtn_jax.metrics.auc import auc
from dtn_jax.models.groups import ModelInput
from dtn_jax.run.run import Run
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Bool, Float

TOP = 15  # pairs that the JSON names
Known = set[tuple[str, str]]
Strengths = dict[str, Float[np.ndarray, "F F"]]  # norm and term


def pair_strengths(passes: Passes) -> dict[str, Strengths]:
    """{group/gdcn_0: {norm | term: `[F, F]`, symmetric, 0 on the diagonal}}, of the experts that
    read the fields; empty without GDCN."""
    size = len(passes.run.schema.read), passes.run.plan.dim
    kernels = gdcn_kernels(passes.state.params, size[0] * size[1])
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

    squares = passes.total(squared, passes.mean(summed), kernels)
    return {
        expert: {
            "norm": paired(block_norms(cross, size)),
            "term": paired(np.sqrt(squares[expert] / passes.count)),
        }
        for expert, (cross, _) in kernels.items()
    }


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


def block_norms(kernel: Float[Array, "W W"], size: tuple[int, int]) -> Float[np.ndarray, "F F"]:
    """The Frobenius norm of the block between each two fields; `size` is (fields, width)."""
    blocks = np.asarray(kernel, np.float64).reshape(*size, *size)
    return np.sqrt((blocks**2).sum(axis=(1, 3)))


def paired(blocks: Float[np.ndarray, "F F"]) -> Float[np.ndarray, "F F"]:
    """One strength a pair, both directions as √(a² + b²); 0 of a field with itself."""
    both = np.sqrt(blocks.astype(np.float64) ** 2 + blocks.T.astype(np.float64) ** 2)
    np.fill_diagonal(both, 0)
    return both


def facts(passes: Passes) -> dict:
    """Each GDCN expert's strongest pairs and, where pairs are known, how well those were found."""
    run, fields = passes.run, passes.run.schema.read_names
    if len(fields) < 2:
        return {}
    groups, found = [*run.schema.task_names, SHARED], pair_strengths(passes)
    experts = sorted(found, key=lambda expert: groups.index(group_of(expert)))
    return {e: expert_facts(found[e], fields, known_pairs(run, group_of(e))) for e in experts}


def group_of(expert: str) -> str:
    """Whose a GDCN expert on the fields is: `click/gdcn_0`, `level_0_click/gdcn_0`: click's."""
    return expert.partition("/")[0].removeprefix("level_0_")


def expert_facts(found: Strengths, fields: Sequence[str], known: Mapping[str, Known]) -> dict:
    """Of each strength the strongest pairs, and how well it ranks the known ones above the others:
    the `auc` over all pairs (None where none is known); how many are `known`, and how many of the
    so many strongest are, `found`."""
    by: dict = {}
    places = list(itertools.combinations(range(len(fields)), 2))
    names = [(fields[i], fields[j]) for i, j in places]
    for name, strengths in found.items():
        values = strengths[tuple(np.transpose(places))]
        order = np.argsort(-values, kind="stable")
        by[name] = {"strongest": [[*names[i], float(values[i])] for i in order[:TOP]]}
        for which, pairs in known.items():
            right = np.array([pair in pairs or pair[::-1] in pairs for pair in names])
            count = int(right.sum())
            by[name][which] = {
                "auc": auc(values, right),
                "known": count,
                "found": int(right[order[:count]].sum()),
            }
    return by


def known_pairs(run: Run, group: str) -> dict[str, Known]:
    """On synthetic data {own: pairs of the group's stage, all: and of the stages before it}; the
    group `shared` has all."""
    stages = run.data.notes.get("pairs", {}) if run.config.data.dataset == "synthetic" else {}
    if not stages:
        return {}
    names = list(stages)
    own = names if group == SHARED else [group]
    before = names if group == SHARED else names[: names.index(group) + 1]
    return {
        which: {(left, right) for name in chosen for left, right, _, _ in stages[name]}
        for which, chosen in (("own", own), ("all", before))
    }
