"""RankMixer, "Scaling Up Ranking Models in Industrial Recommenders" (arXiv 2507.15551), dense.

The fields are cut into T equal parts, each projected to a token; T more tokens, one a task, are
learned. Blocks mix all of them (models/tokens.py). A task's logit is tower_t of its token; without
task tokens, of the mean of all tokens, as in the paper.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.layers import at_least_float32, equal_parts, flat
from dtn_jax.models.tokens import PerToken, RankMixerBlock
from dtn_jax.options import option


class RankMixer(Architecture):
    """No experts. Intermediates: `tokens`, after the last block, `[B, K]` each."""

    takes_experts: ClassVar[bool] = False

    tokens: int = option(8, "tokens into which the fields are cut", least=1, most=10_000)
    head_dim: int = option(8, "numbers that a token gives to each other one", least=1)
    blocks: int = option(2, "blocks of mixing and feed-forward layers", least=1, most=100)
    expansion: int = option(2, "hidden width of the feed-forward layers, in tokens", least=1)
    task_tokens: bool = option(True, "a token for each task; False reads the mean of all")

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its token."""
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        names = [task.name for task in self.tasks] if self.task_tokens else []
        K = (self.tokens + len(names)) * self.head_dim
        parts = equal_parts(flat(fields).astype(self.dtype), self.tokens)
        t = PerToken(K, self.dtype, name="tokens")(parts)
        if names:
            init, exact = nn.initializers.normal(0.02), at_least_float32(self.dtype)
            learned = self.param("task_tokens", init, (1, len(names), K), exact)
            own = jnp.broadcast_to(learned.astype(self.dtype), (t.shape[0], len(names), K))
            t = jnp.concatenate([t, own], axis=1)
        for block in range(self.blocks):
            t = RankMixerBlock(self.expansion, self.dtype, name=f"block_{block}")(t)
        mean = jnp.mean(t, axis=1)
        z = {name: t[:, self.tokens + i] for i, name in enumerate(names)}
        logits = {
            task.name: self.tower(name=f"tower_{task.name}")(z.get(task.name, mean), train)
            for task in self.tasks
        }
        return Outputs(logits=logits, intermediates={"experts": {}, "tokens": z})
