"""Histories: how a sequence of items becomes one vector, by the item at hand; one way a file.

    pooling(target [B, D], items [B, S, D], present [B, S], train) -> [B, D]

The items are in the order of time, the newest last; `present` marks those that are there, which
come first. An empty history is the zero vector. A way of your own is a file here and a line in
HISTORIES, a subclass of `Pooling`; its options stand under `model.<its name>`.
"""

from dtn_jax.models.histories.bst import BST
from dtn_jax.models.histories.din import DIN
from dtn_jax.models.histories.target_attention import TargetAttention

HISTORIES = {"din": DIN, "target_attention": TargetAttention, "bst": BST}
