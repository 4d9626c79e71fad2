"""How far each field's embedding moves each task's logit: `importance.gradient`'s moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import Forward
from dtn_jax.interface import Batch, Inputs
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Float


class Embedded(NamedTuple):
    """What embeddings are made of, by row or as sums over rows.

    Attributes:
      fields: per view `[B, F, D]`: as looked up, and of numbers complete. What makes those of a
        value adds it to a row, so that the slopes are the row's.
      vectors: of each vector field `[B, K]`. Its projection is linear in them: how far they move a
        logit is how far x W does, in all views.
      histories: per view, the items of each sequence field `[B, S, D]`. Where they are pooled by
        the item at hand, it is they that move a logit; elsewhere their slopes are 0.
    """

    fields: dict[str, Float[Array, "B F D"]]
    vectors: dict[str, Float[Array, "B _"]]
    histories: dict[str, dict[str, Float[Array, "B _ D"]]]

    @classmethod
    def of(cls, given: Inputs) -> Embedded:
        items = {
            view: {name: history.items for name, history in own.items()}
            for view, own in given.histories.items()
        }
        return cls(given.fields, given.vectors, items)

    def within(self, given: Inputs) -> Inputs:
        """The inputs, with these embeddings in place of their own."""
        histories = {
            view: {
                name: own._replace(items=self.histories[view][name]) for name, own in known.items()
            }
            for view, known in given.histories.items()
        }
        return given.replace(fields=self.fields, vectors=self.vectors, histories=histories)


def moves(passes: Passes) -> Float[np.ndarray, "B F T"]:
    """The sum over views and d of (dz_t/de_fd) (e_fd - m_fd), m the mean embedding of the rows.

    z_t is what the task's tower gives; of one that gives several numbers (ziln), their sum.
    """
    summed, moved = make_moves(passes.forward)
    return passes.map(moved, passes.mean(summed))


def make_moves(
    forward: Forward,
) -> tuple[Callable[[State, Batch], Embedded], Callable[[State, Batch, Embedded], Array]]:
    """Returns `(state, batch) -> sums over the batch [1, ...]` and
    `(state, batch, means [1, ...]) -> moves [B, F, T]`."""
    names, tasks = forward.plan.schema.read_names, forward.plan.schema.task_names

    def complete(state: State, given: Inputs) -> Embedded:
        if given.numbers:
            given = forward.apply(state, given, method="completed")
        return Embedded.of(given)

    def moved(state: State, batch: Batch, means: Embedded):
        given = forward.inputs(state, batch)
        here = complete(state, given)

        def logits(embedded: Embedded):
            outputs = forward.apply(state, embedded.within(given))
            towers = (outputs.logits[name] for name in tasks)
            return jnp.stack([z.reshape(len(z), -1).sum(axis=1) for z in towers])

        z, pull_back = jax.vjp(logits, Embedded.of(given))
        found = []
        for task in range(len(z)):
            # A row's logit depends on its own embeddings alone: one backward pass for all rows.
            (slopes,) = pull_back(jnp.zeros_like(z).at[task].set(1))
            parts = jax.tree.map(lambda g, e, m: (g * (e - m)).sum(axis=-1), slopes, here, means)
            own = sum(parts.fields[view] for view in given.fields)
            for name, part in parts.vectors.items():
                own = own.at[:, names.index(name)].add(part)
            for histories in parts.histories.values():
                for name, part in histories.items():
                    own = own.at[:, names.index(name)].add(part.sum(axis=-1))
            found.append(own)
        return jnp.stack(found, axis=-1)

    def summed(state: State, batch: Batch) -> Embedded:
        here = complete(state, forward.inputs(state, batch))
        return jax.tree.map(lambda e: e.sum(axis=0, keepdims=True), here)

    return summed, moved
