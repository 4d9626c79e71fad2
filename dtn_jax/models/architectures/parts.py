"""What every architecture is made of: its attributes, its input and its groups of experts.

Letters: B batch, F fields, D embedding width, P field pairs, N hashes, C codebooks, H expert
width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flax import linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Bool, Float

from dtn_jax.models.dropout import Dropout
from dtn_jax.models.experts.mlp import MLP, side_by_side
from dtn_jax.models.normalisation import Normalisation
from dtn_jax.schema import Task

SHARED = "shared"  # the group, and the view, of all tasks

# Factories rather than modules: linen wants a submodule made where it is used. Pairs rather
# than mappings: they are hashable and keep their order.
Experts = tuple[tuple[str, Callable[..., nn.Module]], ...]  # (expert's name, factory)
Groups = tuple[tuple[str, Experts], ...]  # (group's name, its experts)

WIDEST_JOINED = 256  # columns of a first layer; there is less to gain with wider ones


class Architecture(nn.Module):
    """The attributes that all architectures have, besides their groups of experts.

    Attributes:
      tasks: every task after its upstream tasks.
      input: makes the module that prepares the field embeddings (ModelInput).
      tower: makes a task's tower.
      dropout: rate on the experts' outputs.
      dtype: of the gates' computation.
      inflation: (task, log w) where its positives weigh w in the loss.
    """

    tasks: tuple[Task, ...]
    input: Callable[..., nn.Module]
    tower: Callable[..., nn.Module]
    dropout: float
    dtype: Any
    inflation: tuple[tuple[str, float], ...]

    def logit_of_p(self, task: str, logit: Float[Array, " B"]) -> Float[Array, " B"]:
        """The logit of the task's probability, of one that its weighted loss is taken of."""
        return logit - dict(self.inflation)[task]

    def first_products(
        self, x: Float[Array, "B W"], groups: Groups, gates: Sequence[str]
    ) -> dict[str, Float[Array, "B _"]]:
        """x W for the first layers W of the MLP experts and gates that read x: {path: `[B, K]`}.

        They are computed side by side where there are several and none is wide; a module whose
        path is missing makes its own product. Only the product is shared: each module keeps its
        parameters.
        """
        first = {
            f"{group}/{name}": "hidden_0"
            for group, experts in groups
            for name, expert in experts
            if expert.func is MLP and expert.keywords.get("hidden")
        } | dict.fromkeys(gates, "scores")
        if self.is_initializing() or len(first) < 2:
            return {}
        params = flatten_dict(self.variables["params"], sep="/")
        kernels = [params[f"{path}/{layer}/kernel"] for path, layer in first.items()]
        if max(kernel.shape[1] for kernel in kernels) > WIDEST_JOINED:
            return {}
        return dict(zip(first, side_by_side(x, kernels, self.dtype)))


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
        products: Mapping[str, Float[Array, "B _"]] = MappingProxyType({}),
    ) -> dict[str, Float[Array, "B H"]]:
        """`products` are those of `Architecture.first_products`."""
        outputs = {}
        for name, expert in self.experts:
            path = "/".join((*self.path, name))
            known = {"first": products[path]} if path in products else {}
            f = expert(name=name)(fields, codewords, train, **known)
            outputs[path] = Dropout(self.dropout)(f, train)
        return outputs


def by_expert(
    weights: Float[Array, "B M"], experts: dict[str, Float[Array, "B H"]]
) -> dict[str, Float[Array, " B"]]:
    """Gate weights under the names of the experts they weigh."""
    return {name: weights[:, m] for m, name in enumerate(experts)}
