"""What every architecture is made of: its attributes, its input and its groups of experts.

Letters: B batch, F fields, D embedding width, P field pairs, N hashes, C codebooks, H expert
width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flax import linen as nn
from jaxtyping import Array, Bool, Float

from dtn_jax.interactions.dropout import Dropout
from dtn_jax.normalisation import Normalisation
from dtn_jax.schema import Task

SHARED = "shared"  # the group, and the view, of all tasks

# Factories rather than modules: linen wants a submodule made where it is used. Pairs rather
# than mappings: they are hashable and keep their order.
Experts = tuple[tuple[str, Callable[..., nn.Module]], ...]  # (expert's name, factory)
Groups = tuple[tuple[str, Experts], ...]  # (group's name, its experts)


class Architecture(nn.Module):
    """The attributes that all architectures have, besides their groups of experts.

    Attributes:
      tasks: every task after its upstream tasks.
      input: makes the module that prepares the field embeddings (ModelInput).
      tower: makes a task's tower.
      dropout: rate on the experts' outputs.
      dtype: of the gates' computation.
    """

    tasks: tuple[Task, ...]
    input: Callable[..., nn.Module]
    tower: Callable[..., nn.Module]
    dropout: float
    dtype: Any


class ModelInput(nn.Module):
    """Normalises the field embeddings and drops some of their numbers out."""

    normalisation: str = "none"
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, fields: Float[Array, "B F D"], row_mask: Bool[Array, " B"], train: bool
    ) -> Float[Array, "B F D"]:
        fields = Normalisation(self.normalisation, name="normalisation")(fields, row_mask, train)
        return Dropout(self.dropout, "embedding_dropout")(fields, train)


class ExpertGroup(nn.Module):
    """Runs the experts of one group; {'group/expert': its output}, the path of its parameters."""

    experts: Experts
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        fields: Float[Array, "B F D"],
        codewords: Float[Array, "B P N C D2"] | None,
        train: bool,
    ) -> dict[str, Float[Array, "B H"]]:
        outputs = {}
        for name, expert in self.experts:
            f = expert(name=name)(fields, codewords, train)
            f = Dropout(self.dropout)(f, train)
            outputs["/".join((*self.path, name))] = f
        return outputs


def by_expert(
    weights: Float[Array, "B M"], experts: dict[str, Float[Array, "B H"]]
) -> dict[str, Float[Array, " B"]]:
    """Gate weights under the names of the experts they weigh."""
    return {name: weights[:, m] for m, name in enumerate(experts)}
