"""Groups of experts, and the input that they read.

Letters: B batch, F fields, D embedding width, W = F*D, P field pairs, N hashes, C codebooks,
H expert width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from flax import linen as nn
from flax.traverse_util import flatten_dict

from dtn_jax.models.dropout import Dropout
from dtn_jax.models.experts.mlp import MLP
from dtn_jax.models.layers import flat, side_by_side
from dtn_jax.models.normalisation import Normalisation
from dtn_jax.shapes import Array, Bool, Float

# Factories rather than modules: linen wants a submodule made where it is used. Pairs rather
# than mappings: they are hashable and keep their order.
Experts = tuple[tuple[str, Callable[..., nn.Module]], ...]  # (expert's name, factory)
Groups = tuple[tuple[str, Experts], ...]  # (group's name, its experts)
Named = dict[str, Float[Array, "B H"]]  # experts' outputs by name

WIDEST_JOINED = 256  # columns of a first layer; there is less to gain with wider ones


class ModelInput(nn.Module):
    """Normalises the field embeddings and drops some of their numbers out."""

    normalisation: str = "none"
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, fields: Float[Array, "B F D"], row_mask: Bool[Array, " B"], train: bool
    ) -> Float[Array, "B F D"]:
        """The fields as experts read them; masked rows are left out of statistics."""
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
    ) -> Named:
        """`products` are those of `first_products`."""
        outputs = {}
        for name, expert in self.experts:
            path = "/".join((*self.path, name))
            known = {"first": products[path]} if path in products else {}
            f = expert(name=name)(fields, codewords, train, **known)
            outputs[path] = Dropout(self.dropout)(f, train)
        return outputs


def first_products(
    module: nn.Module,
    groups: Groups,
    read: Mapping[str, Float[Array, "B F D"]],
    prefix: str,
    gates: Mapping[str, str],
) -> dict[str, Float[Array, "B _"]]:
    """x W for the first layers W of a module's MLP experts, and for its gates: {path: `[B, K]`}.

    Those that read one x and are not wide are computed side by side; what is missing makes its own
    product. Only the product is shared: each keeps its parameters.

    Args:
      module: holds the groups, and the products are in its `dtype`.
      groups: of a level.
      read: {group: what it reads}.
      prefix: of the groups' names in the parameters' paths.
      gates: {a gate's name: the group that reads what it reads}; those without parameters are
        passed over.
    """
    if module.is_initializing():
        return {}
    layers = [
        (f"{prefix}{group}/{name}", "hidden_0", read[group])
        for group, experts in groups
        for name, expert in experts
        if expert.func is MLP
    ]
    layers += [(gate, "scores", read[group]) for gate, group in gates.items()]
    products, by_path = {}, flatten_dict(module.variables["params"], sep="/")
    for x in {id(x): x for *_, x in layers}.values():
        kernels = {p: by_path.get(f"{p}/{layer}/kernel") for p, layer, y in layers if y is x}
        kernels = {
            p: k for p, k in kernels.items() if k is not None and k.shape[1] <= WIDEST_JOINED
        }
        if len(kernels) > 1:
            products |= zip(kernels, side_by_side(flat(x), list(kernels.values()), module.dtype))
    return products


def by_expert(
    weights: Float[Array, "B M"], experts: dict[str, Float[Array, "B H"]]
) -> dict[str, Float[Array, " B"]]:
    """Gate weights under the names of the experts they weigh."""
    return {name: weights[:, m] for m, name in enumerate(experts)}
