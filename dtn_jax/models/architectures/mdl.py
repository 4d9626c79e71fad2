"""MDL, "A Unified Multi-Distribution Learner through Tokenization" (Mu et al. 2026,
arXiv 2602.07520).

Tokens of the fields (F), of every scenario and one of all (S), and of the tasks (T) go through
blocks. With FFN and Q, K, V of each token's own, A(q, F) attention of q over F, and s the mean of a
row's own scenario's token and that of all:

    F = FFN(LN(mix(F) + F))                                   `models/tokens.py`
    S = A(S, F) + S;   T = A(T, F) + T + s;   S = FFN(S) + S;   T = FFN(T) + T

A task's logit is tower_t of its token. Tokens of scenarios and tasks are relu layers of each one's
own on all fields, where the paper's are on features picked for them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.architectures.scenarios import check_scenario, scenario_of
from dtn_jax.models.layers import dense, equal_parts, flat, layer_norm
from dtn_jax.models.tokens import PerToken, PerTokenFFN, attention, mixed
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class MDL(Architecture):
    """No experts. Intermediates: `attention`, of each task in each block over the tokens of fields,
    `[B, tokens]` each, which sum to 1.

    Attributes:
      scenarios: P, the rows of the scenario's table.
    """

    takes_experts: ClassVar[bool] = False

    scenarios: int = 0
    scenario: tuple[str, ...] = option(
        (), "the field of scenarios; () that of the role scenario", items=str, role="scenario"
    )
    tokens: int = option(8, "tokens into which the fields are cut", least=1, most=10_000)
    head_dim: int = option(8, "numbers that a token gives to each other one", least=1)
    blocks: int = option(2, "blocks", least=1, most=100)
    expansion: int = option(2, "hidden width of the feed-forward layers, in tokens", least=1)

    @classmethod
    def check(cls, schema, own):
        check_scenario("mdl", schema, own.scenario)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its token."""
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        x, K = flat(fields).astype(self.dtype), self.tokens * self.head_dim
        F = PerToken(K, self.dtype, name="fields")(equal_parts(x, self.tokens))
        S, T = (
            nn.relu(dense(count * K, self.dtype, name=name)(x)).reshape(-1, count, K)
            for name, count in (("scenarios", self.scenarios + 1), ("tasks", len(self.tasks)))
        )
        at = scenario_of(inputs, self.scenario, self.scenarios).astype(self.dtype)
        shown = {task.name: {} for task in self.tasks}
        for block in range(self.blocks):
            name = f"block_{block}"
            s = layer_norm(mixed(F) + F, self.dtype, f"{name}_mixed")
            F = PerTokenFFN(self.expansion, self.dtype, name=f"{name}_fields")(s)
            S = DomainAttention(self.dtype, name=f"{name}_scenario_attention")(S, F)[0] + S
            found, weights = DomainAttention(self.dtype, name=f"{name}_task_attention")(T, F)
            own = (jnp.einsum("bpk,bp->bk", S[:, :-1], at) + S[:, -1]) / 2
            T = found + T + own[:, None]
            T = PerTokenFFN(self.expansion, self.dtype, name=f"{name}_tasks")(T) + T
            if block < self.blocks - 1:
                S = PerTokenFFN(self.expansion, self.dtype, name=f"{name}_scenarios")(S) + S
            for i, task in enumerate(self.tasks):
                shown[task.name][name] = weights[:, i]
        logits = {
            task.name: self.tower(name=f"tower_{task.name}")(T[:, i], train)
            for i, task in enumerate(self.tasks)
        }
        return Outputs(logits=logits, intermediates={"experts": {}, "attention": shown})


class DomainAttention(nn.Module):
    """A(q, F) = softmax(q Q (F K)^T / sqrt(d)) F V, and its weights."""

    dtype: Any

    @nn.compact
    def __call__(
        self, q: Float[Array, "B Q K"], F: Float[Array, "B T K"]
    ) -> tuple[Float[Array, "B Q K"], Float[Array, "B Q T"]]:
        """Of each row."""
        read = {"query": q, "key": F, "value": F}
        made = [PerToken(F.shape[-1], self.dtype, name=name)(y) for name, y in read.items()]
        return attention(*made, heads=1)
