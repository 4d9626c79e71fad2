"""MDL, "A Unified Multi-Distribution Learner in Large-scale Industrial Recommendation through
Tokenization" (Mu et al. 2026, arXiv 2602.07520).

Tokens of the fields (F), of every scenario and one of all (S), and of the tasks (T) go through
blocks. With FFN and Q, K, V of each token's own, A(q, F) attention of q over F, and s the mean of a
row's own scenario's token and that of all:

    F = FFN(LN(mix(F) + F))                                   `models/tokens.py`
    S = A(S, F) + S;   T = A(T, F) + T + s;   S = FFN(S) + S;   T = FFN(T) + T

A task's logit is tower_t of its token. The fields' tokens are equal parts of them, or the groups
that the schema names; those of scenarios and tasks are relu layers of each one's own on all fields,
where the paper's are on features picked for them.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.scenarios import ByScenario
from dtn_jax.models.architectures.trunk import Trunk
from dtn_jax.models.layers import dense, flat, layer_norm
from dtn_jax.models.tokens import Attention, PerToken, PerTokenFFN, mixed
from dtn_jax.options import option


class MDL(Trunk, ByScenario):
    """No experts. A gate is a task's attention to the tokens of fields in a block."""

    tokens: int = option(8, "tokens into which the fields are cut", least=1, most=10_000)
    head_dim: int = option(8, "numbers that a token gives to each other one", least=1)
    blocks: int = option(2, "blocks", least=1, most=100)
    expansion: int = option(2, "hidden width of the feed-forward layers, in tokens", least=1)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its token."""
        fields = self.read(inputs, train)
        parts, x = self.parts(fields, inputs.names, self.tokens), flat(fields)
        K = parts.shape[1] * self.head_dim
        F = PerToken(K, self.dtype, name="fields")(parts)
        S, T = (
            nn.relu(dense(count * K, self.dtype, name=name)(x)).reshape(-1, count, K)
            for name, count in (("scenarios", self.scenarios + 1), ("tasks", len(self.tasks)))
        )
        at, seen = self.scenario_of(inputs).astype(self.dtype), {}
        attend = functools.partial(Attention, 1, self.dtype, ("query", "key", "value"), True)
        for block in range(self.blocks):
            name = f"block_{block}"
            F = layer_norm(mixed(F) + F, self.dtype, f"{name}_mixed")
            F = PerTokenFFN(self.expansion, self.dtype, name=f"{name}_fields")(F)
            S = attend(name=f"{name}_scenario_attention")(S, F)[0] + S
            read, seen[name] = attend(name=f"{name}_task_attention")(T, F)
            s = (jnp.einsum("bpk,bp->bk", S[:, :-1], at) + S[:, -1]) / 2
            T = read + T + s[:, None]
            T = PerTokenFFN(self.expansion, self.dtype, name=f"{name}_tasks")(T) + T
            if block < self.blocks - 1:
                S = PerTokenFFN(self.expansion, self.dtype, name=f"{name}_scenarios")(S) + S
        return self.outputs(T, seen, self.token_names(parts.shape[1]), train)
