"""INFNet, "A Task-aware Information Flow Network" (Li et al. 2025, arXiv 2508.11565), sections 3.1
to 3.3.

Three kinds of tokens, each with a few proxies: the fields C, or the groups of them that the schema
names, each projected; the items S of all histories; and the tasks T, which are learned. A block,
where CA(q, x) is attention of q over x with matrices of its own, and G(x, p) = x * sigmoid(MLP(
flat(p))), the same numbers for all tokens of x:

    c' = CA(c, S) + CA(c, T),   s' = CA(s, C) + CA(s, T),   t' = CA(t, C) + CA(t, S)
    C' = G(C, c'),   S' = G(S, s'),   T' = G(CA(T, C) + CA(T, S), t')

with c, s, t the proxies: at first c = MLP(flat(C)), cut into tokens, s the sum of each history's
projected items, t learned. A task's logit is tower_t(T_t) of the last block, where C and S need not
be made. Without histories all that reads S is left out. The gates read the proxies that their block
made, as the paper's text has it; its equations give them those of the block before.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.trunk import Trunk
from dtn_jax.models.layers import dense, flat, two_layers
from dtn_jax.models.tokens import Attention, PerToken, learned
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class INFNet(Trunk):
    """No experts. A gate is a task's attention to the fields in a block."""

    blocks: int = option(2, "blocks of flows between and within kinds of tokens", least=1, most=100)
    proxies: int = option(4, "proxies of the fields", least=1, most=10_000)
    task_proxies: int = option(2, "tokens that all tasks share", least=1, most=10_000)
    hidden: int = option(64, "hidden width of the gates and of the fields' proxies", least=1)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its token."""
        C = self.read(inputs, train)
        D = C.shape[-1]
        if self.fields:
            C = PerToken(D, self.dtype, name="fields")(self.parts(C, inputs.names, 0))
        several = self.blocks > 1  # the last block asks no proxies of C and S
        if several:
            c = two_layers(flat(C), self.hidden, self.proxies * D, self.dtype, "field_proxies")
            c = c.reshape(-1, self.proxies, D)
        init = nn.initializers.glorot_uniform()
        T = learned(self, "tasks", len(self.tasks), C, init)
        t = learned(self, "task_proxies", self.task_proxies, C, init)
        histories = [h for _, h in sorted(inputs.histories.get(SHARED, {}).items())]
        S = present = None
        if histories:
            S = jnp.concatenate([h.items for h in histories], axis=1).astype(self.dtype)
            present = jnp.concatenate([h.present for h in histories], axis=1)[:, None]
        if histories and several:
            project = dense(D, self.dtype, name="history_proxies")
            sums = [jnp.sum(project(h.items) * h.present[:, :, None], axis=1) for h in histories]
            s = jnp.stack(sums, axis=1).astype(self.dtype)
        seen = {}
        for block in range(self.blocks):
            name, last = f"block_{block}", block == self.blocks - 1
            fields, items, tasks = (C, None), (S, present), (T, None)
            t, _ = self._flow(t, [fields, items], f"{name}_task_proxies")
            read, seen[name] = self._flow(T, [fields, items], f"{name}_tasks")
            if not last:
                c, _ = self._flow(c, [items, tasks], f"{name}_fields")
                C = self._gated(C, c, f"{name}_field_gate")
                if S is not None:
                    s, _ = self._flow(s, [fields, tasks], f"{name}_items")
                    S = self._gated(S, s, f"{name}_item_gate")
            T = self._gated(read, t, f"{name}_task_gate")
        names = (
            self.token_names(C.shape[1]) if self.fields else map("field/{}".format, inputs.names)
        )
        return self.outputs(T, seen, [*names], train)

    def _flow(self, q: Array, sources: list, name: str) -> tuple[Array, Array]:
        """The sum of CA(q, x) over the sources that there are, and the first one's weights."""
        total, shown = 0, None
        for i, (x, present) in enumerate(sources):
            if x is not None:
                attend = Attention(1, self.dtype, ("query", "key", "value"), name=f"{name}_{i}")
                part, weights = attend(q, x, present)
                total, shown = total + part, weights if shown is None else shown
        return total, shown

    def _gated(self, x: Float[Array, "B n D"], p: Float[Array, "B m D"], name: str) -> Array:
        scores = two_layers(flat(p), self.hidden, x.shape[-1], self.dtype, name)
        return x * nn.sigmoid(scores)[:, None]
