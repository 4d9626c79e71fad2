"""What every architecture is: its attributes, its groups of experts, and what it says of itself.

Letters: B batch, F fields, D embedding width, P field pairs, N hashes, C codebooks, H expert
width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

from flax import linen as nn

from dtn_jax.data.epochs import batch_axis
from dtn_jax.interface import SHARED, Inputs
from dtn_jax.models.groups import ExpertGroup, Groups, Named, first_products
from dtn_jax.schema import Schema, Task
from dtn_jax.shapes import Array, Float

Layout = tuple[tuple[str, ...], ...]  # the names of the groups, a level after the other


class Architecture(nn.Module):
    """A routing of experts to tasks; `__call__(inputs, train)` gives `Outputs`.

    A subclass says which groups of experts it has (`layout`; by default one that all tasks share),
    from which embedding tables it reads (`views`) and what it does not go with (`check`). Its
    options are fields declared by `options.option`, and stand under `model.<its name>`; the three
    methods are given them as `own`, by field. With `takes_experts = False` it has no groups, and
    `model.experts` means nothing.

    Attributes:
      published: {option: value}, the experts and sizes of its paper, where a config's own are
        others; the flag `paper` of a config sets them.
      levels: the experts of each group, a level after the other; of most one level.
      tasks: every task after its upstream tasks.
      input: makes the module that prepares the field embeddings (ModelInput).
      tower: makes a task's tower.
      dropout: rate on the experts' outputs.
      dtype: of the gates' computation.
    """

    takes_experts: ClassVar[bool] = True
    published: ClassVar[Mapping[str, str]] = {}

    levels: tuple[Groups, ...]
    tasks: tuple[Task, ...]
    input: Callable[..., nn.Module]
    tower: Callable[..., nn.Module]
    dropout: float
    dtype: Any

    @classmethod
    def layout(cls, schema: Schema, own: SimpleNamespace) -> Layout:
        """The names of the groups of experts, a tuple a level; () without experts."""
        return ((SHARED,),) if cls.takes_experts else ()

    @classmethod
    def views(cls, schema: Schema, own: SimpleNamespace) -> tuple[str, ...]:
        """The views of the fields that it reads, each with embedding tables of its own."""
        return (SHARED,)

    @classmethod
    def check(cls, schema: Schema, own: SimpleNamespace) -> None:
        """Raises UserError where the tasks or the options are not for this architecture."""

    @property
    def history_readers(self) -> tuple[str, ...]:
        """Tasks, or `shared`, that read histories which are pooled for them alone; () is none.

        In place of the view `shared`, `inputs.fields` then has what each of them reads.
        """
        return ()

    def tower_widths(self, z: Float[Array, "B K"]) -> tuple[int, ...]:
        """What each layer of a tower reads, given z: for `scales`."""
        return (z.shape[-1], *self.tower.keywords["hidden"])

    def towers(self, z: Mapping[str, Float[Array, "B _"]], train: bool) -> dict[str, Array]:
        """{task: the logit of its tower, which reads its z}."""
        return {task: self.tower(name=f"tower_{task}")(x, train) for task, x in z.items()}

    def draw(self, sampler: Callable[..., Array], shape: tuple[int, ...]) -> Float[Array, "B ..."]:
        """`sampler(key, shape)`, noise for the rows `[B, ...]` however a batch is split."""
        key = self.make_rng("dropout")
        return batch_axis.draw(lambda whole: sampler(key, whole), shape)

    @property
    def groups(self) -> Groups:
        """The experts of each group of the first level."""
        return self.levels[0]

    def read(self, inputs: Inputs, train: bool, view: str = SHARED) -> Float[Array, "B F D"]:
        """The fields of a view as experts read them."""
        name = "input" if view == SHARED else f"input_{view}"
        return self.input(name=name)(inputs.fields[view], inputs.row_mask, train)

    def shared_experts(self, inputs: Inputs, train: bool) -> tuple[Float[Array, "B F D"], Named]:
        """The fields, and the outputs of the shared group's experts, which read them."""
        fields = self.read(inputs, train)
        return fields, self.experts(fields, inputs.codewords, train)[SHARED]

    def experts(
        self,
        read: Float[Array, "B F D"] | Mapping[str, Float[Array, "B F D"]],
        codewords: Float[Array, "B P N C D2"] | None,
        train: bool,
        level: int | None = None,
    ) -> dict[str, Named]:
        """Runs the groups of a level; {group: {expert's path: output `[B, H]`}}.

        Args:
          read: what all groups read, or {group: what it reads}.
          codewords: of the inputs.
          train: whether dropout is on.
          level: its number, which is then part of the parameters' paths; None for the only one.
        """
        return self.gated_experts(read, codewords, train, level, {})[0]

    def gated_experts(
        self,
        read: Float[Array, "B F D"] | Mapping[str, Float[Array, "B F D"]],
        codewords: Float[Array, "B P N C D2"] | None,
        train: bool,
        level: int | None,
        gates: Mapping[str, str],
    ) -> tuple[dict[str, Named], dict[str, Float[Array, "B _"]]]:
        """As `experts`, and {gate: x W} of gates, made beside the experts' first layers.

        Args:
          gates: {a gate's name: the group that reads the x that it reads}.
        """
        prefix = "" if level is None else f"level_{level}_"
        groups = self.levels[level or 0]
        if not isinstance(read, Mapping):
            read = {group: read for group, _ in groups}
        products = first_products(self, groups, read, prefix, gates)
        outputs = {
            group: ExpertGroup(experts, self.dropout, name=prefix + group)(
                read[group], codewords, train, products
            )
            for group, experts in groups
        }
        return outputs, products


def merged(outputs: Mapping[str, Named]) -> Named:
    """The outputs of all groups as one dict, in the order of the groups."""
    return {name: f for named in outputs.values() for name, f in named.items()}
