"""RankMixer, "Scaling Up Ranking Models in Industrial Recommenders" (arXiv 2507.15551), dense.

The fields are cut into equal parts, or into the groups that the schema names, and each is projected
to a token; one more token for each task is learned. Blocks mix all of them (models/tokens.py). A
task's logit is tower_t of its token; without task tokens, of the mean of all, as in the paper.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures.trunk import Trunk
from dtn_jax.models.tokens import PerToken, RankMixerBlock, learned
from dtn_jax.options import option


class RankMixer(Trunk):
    """No experts. Intermediates: `tokens`, after the last block, `[B, K]` each."""

    tokens: int = option(8, "tokens into which the fields are cut", least=1, most=10_000)
    head_dim: int = option(8, "numbers that a token gives to each other one", least=1)
    blocks: int = option(2, "blocks of mixing and feed-forward layers", least=1, most=100)
    expansion: int = option(2, "hidden width of the feed-forward layers, in tokens", least=1)
    task_tokens: bool = option(True, "a token for each task; False reads the mean of all")

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its token."""
        parts = self.parts(self.read(inputs, train), inputs.names, self.tokens)
        count, own = parts.shape[1], len(self.tasks) if self.task_tokens else 0
        t = PerToken((count + own) * self.head_dim, self.dtype, name="tokens")(parts)
        if own:
            t = jnp.concatenate([t, learned(self, "task_tokens", own, t)], axis=1)
        for block in range(self.blocks):
            t = RankMixerBlock(self.expansion, self.dtype, name=f"block_{block}")(t)
        mean = jnp.mean(t, axis=1)
        z = {k.name: t[:, count + i] if own else mean for i, k in enumerate(self.tasks)}
        tokens = z if own else {}
        return Outputs(self.towers(z, train), intermediates={"experts": {}, "tokens": tokens})
