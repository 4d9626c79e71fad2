"""INFNet, "A Task-aware Information Flow Network" (Li et al. 2025, arXiv 2508.11565), sections 3.1
to 3.3.

Three kinds of tokens, each with a few proxies: the fields C, the items S of all histories, and the
tasks T, which are learned. A block, where CA(q, x) is attention of q over x with matrices of its
own, and G(x, p) = x * sigmoid(MLP(flat(p))), the same numbers for all tokens of x:

    c' = CA(c, S) + CA(c, T),   s' = CA(s, C) + CA(s, T),   t' = CA(t, C) + CA(t, S)
    C' = G(C, c'),   S' = G(S, s'),   T' = G(CA(T, C) + CA(T, S), t')

with c, s, t the proxies: at first c = MLP(flat(C)), cut into tokens, s the sum of each history's
projected items, t learned. A task's logit is tower_t(T_t) of the last block, where C and S need not
be made. Without histories all that reads S is left out. The gates read the proxies that their block
made, as the paper's text has it; its equations give them those of the block before.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.layers import at_least_float32, dense, flat
from dtn_jax.models.tokens import attention
from dtn_jax.options import option
from dtn_jax.shapes import Array, Bool, Float


class INFNet(Architecture):
    """No experts. Intermediates: `attention`, of each task in each block over the fields, `[B, F]`
    each, which sum to 1."""

    takes_experts: ClassVar[bool] = False

    blocks: int = option(2, "blocks of flows between and within kinds of tokens", least=1, most=100)
    proxies: int = option(4, "proxies of the fields", least=1, most=10_000)
    task_proxies: int = option(2, "tokens that all tasks share", least=1, most=10_000)
    hidden: int = option(64, "hidden width of the gates and of the fields' proxies", least=1)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its token."""
        C = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        C = C.astype(self.dtype)
        B, _, D = C.shape
        several = self.blocks > 1  # the last block asks no proxies of C and S
        if several:
            c = self._mlp(flat(C), self.proxies * D, "field_proxies").reshape(B, -1, D)
        T = self._learned("tasks", len(self.tasks), B, D)
        t = self._learned("task_proxies", self.task_proxies, B, D)
        histories = [h for _, h in sorted(inputs.histories.get(SHARED, {}).items())]
        S = present = None
        if histories:
            S = jnp.concatenate([h.items for h in histories], axis=1).astype(self.dtype)
            present = jnp.concatenate([h.present for h in histories], axis=1)
        if histories and several:
            project = dense(D, self.dtype, name="history_proxies")
            sums = [jnp.sum(project(h.items) * h.present[:, :, None], axis=1) for h in histories]
            s = jnp.stack(sums, axis=1).astype(self.dtype)
        shown = {task.name: {} for task in self.tasks}
        for block in range(self.blocks):
            name, last = f"block_{block}", block == self.blocks - 1
            fields, items, tasks = (C, None), (S, present), (T, None)
            t, _ = self._flow(t, [fields, items], f"{name}_task_proxies")
            found, weights = self._flow(T, [fields, items], f"{name}_tasks")
            for i, task in enumerate(self.tasks):
                shown[task.name][f"block_{block}"] = weights[:, i]
            if not last:
                c, _ = self._flow(c, [items, tasks], f"{name}_fields")
                C = self._gated(C, c, f"{name}_field_gate")
                if S is not None:
                    s, _ = self._flow(s, [fields, tasks], f"{name}_items")
                    S = self._gated(S, s, f"{name}_item_gate")
            T = self._gated(found, t, f"{name}_task_gate")
        logits = {
            task.name: self.tower(name=f"tower_{task.name}")(T[:, i], train)
            for i, task in enumerate(self.tasks)
        }
        return Outputs(logits=logits, intermediates={"experts": {}, "attention": shown})

    def _flow(self, q: Array, sources: list, name: str) -> tuple[Array, Array]:
        """The sum of CA(q, x) over the sources that there are, and the first one's weights."""
        total, shown = 0, None
        for i, (x, present) in enumerate(sources):
            if x is not None:
                attend = CrossAttention(self.dtype, name=f"{name}_{i}")
                found, weights = attend(q, x, present)
                total, shown = total + found, weights if shown is None else shown
        return total, shown

    def _gated(self, x: Float[Array, "B n D"], p: Float[Array, "B m D"], name: str) -> Array:
        return x * nn.sigmoid(self._mlp(flat(p), x.shape[-1], name))[:, None]

    def _mlp(self, x: Float[Array, "B K"], size: int, name: str) -> Float[Array, "B size"]:
        hidden = nn.relu(dense(self.hidden, self.dtype, name=f"{name}_hidden")(x))
        return dense(size, self.dtype, name=name)(hidden)

    def _learned(self, name: str, count: int, rows: Any, width: int) -> Array:
        init, exact = nn.initializers.glorot_uniform(), at_least_float32(self.dtype)
        tokens = self.param(name, init, (count, width), exact).astype(self.dtype)
        return jnp.broadcast_to(tokens[None], (rows, count, width))


class CrossAttention(nn.Module):
    """CA(q, x) = softmax(q Q (x K)^T / sqrt(D)) x V, over what is present, and its weights."""

    dtype: Any

    @nn.compact
    def __call__(
        self, q: Float[Array, "B Q D"], x: Float[Array, "B S D"], present: Bool[Array, "B S"] | None
    ) -> tuple[Float[Array, "B Q D"], Float[Array, "B Q S"]]:
        """Of each row."""
        read = {"query": q, "key": x, "value": x}
        size = x.shape[-1]
        made = [dense(size, self.dtype, name=n, use_bias=False)(y) for n, y in read.items()]
        return attention(*made, heads=1, present=present)
