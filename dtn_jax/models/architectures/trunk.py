"""Trunks: architectures in which the fields become tokens, and no experts are.

Letters: B batch, F fields, D embedding width, T tokens, K a token's width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax.numpy as jnp

from dtn_jax.errors import choose
from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.layers import equal_parts, flat
from dtn_jax.options import option, pairs
from dtn_jax.shapes import Array, Float


class Trunk(Architecture):
    """No experts; a token may be a group of fields, such as those of the user."""

    takes_experts: ClassVar[bool] = False

    fields: str = option(
        "",
        "fields of each token, 'user=age+city,item=id'; those not named make one more; '' the "
        "schema's, or equal parts of all",
        role="tokens",
    )

    @classmethod
    def check(cls, schema, own):
        for name in itertools.chain(*groups_of(own.fields)):
            choose(f"field in the option fields of {cls.__name__}", name, schema.read_names)
        super().check(schema, own)

    def read(self, inputs: Inputs, train: bool, view: str = SHARED) -> Float[Array, "B F D"]:
        """The fields of a view, in `dtype`."""
        return super().read(inputs, train, view).astype(self.dtype)

    def parts(
        self, fields: Float[Array, "B F D"], names: Sequence[str], count: int
    ) -> Float[Array, "B T _"]:
        """What each token is made of: its fields, zeros after them where others have more; or
        `count` equal parts of all fields."""
        if not self.fields:
            return equal_parts(flat(fields), count)
        groups = groups_of(self.fields)
        rest = [name for name in names if name not in itertools.chain(*groups)]
        groups += [rest] if rest else []
        widest = max(map(len, groups))
        zeros = fields.shape[1]  # the place after the last field
        places = [[names.index(n) for n in group] for group in groups]
        places = [place + [zeros] * (widest - len(place)) for place in places]
        padded = jnp.pad(fields, ((0, 0), (0, 1), (0, 0)))
        return padded[:, jnp.array(places)].reshape(len(fields), len(groups), -1)

    def token_names(self, count: int) -> list[str]:
        """What the tokens of `parts` are called."""
        if not self.fields:
            return [f"token/{i}" for i in range(count)]
        names = [f"token/{name}" for name in pairs(self.fields, "fields", "token=field+field")]
        return [*names, "token/rest"][:count]

    def outputs(
        self,
        T: Float[Array, "B T K"],
        weights: Mapping[str, Float[Array, "B T n"]],
        sources: Sequence[str],
        train: bool,
    ) -> Outputs:
        """Each task's logit, from its token; its gates are what it attended to, by layer.

        Args:
          T: the tasks' tokens.
          weights: of each layer, of the n sources.
          sources: their names.
          train: whether dropout is on.
        """
        logits = self.towers({task.name: T[:, i] for i, task in enumerate(self.tasks)}, train)
        gates = {
            f"{task.name}/{layer}": {name: seen[:, i, j] for j, name in enumerate(sources)}
            for i, task in enumerate(self.tasks)
            for layer, seen in weights.items()
        }
        return Outputs(logits=logits, intermediates={"experts": {}, "gates": gates})


def groups_of(fields: str) -> list[list[str]]:
    """The fields of each token that an option `fields` names."""
    groups = pairs(fields, "fields", "token=field+field").values()
    return [[name.strip() for name in text.split("+")] for text in groups]
