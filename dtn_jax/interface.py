"""What passes between data, model and the rest: a batch, a model's inputs and its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.struct
import numpy as np

from dtn_jax.shapes import Array, Bool, Float, Int

SHARED = "shared"
"""The group, and the view, of all tasks."""

Fields = Float[Array, "B F D"]  # what an expert reads: embeddings, or a vector as one of them
Codewords = Float[Array, "B P N C D2"] | None  # of HCNet
Vectors = Float[Array, "B H"]  # what an expert gives


@flax.struct.dataclass
class Batch:
    """B examples; in a chunk every array has a leading axis of steps.

    Attributes:
      ids: int32 `[B, L]`, rows of each slot's table; -1 is padding, 0 the unknown id.
      weights: float32 `[B, W]`, of the W slots of weighted bags, in the slots' order; a set
        without such bags has W = 0.
      numeric: float32 `[B, N]`, values of standardised numeric fields and vectors, in field order.
      labels: float32 `[B, T]`.
      label_mask: bool `[B, T]`, False where a label is missing.
      sample_weight: float32 `[B]`, how many rows each one stands for: in the loss and in metrics.
      row_mask: bool `[B]`, False for the rows that pad the last batch.
      loss_weight: float32 `[B]`, its factor in the loss alone; None where the set has none.
      group: int32 `[B, 2]`, the low and the high half of each row's int64 group, so that groups
        stay apart; None, no array at all, but where rows are scored, and in the training of a run
        with `loss.pairwise`.
    """

    ids: Any
    weights: Any
    numeric: Any
    labels: Any
    label_mask: Any
    sample_weight: Any
    row_mask: Any
    group: Any = None
    loss_weight: Any = None

    def in_loss(self) -> Any:
        """float32 `[B]`: what a row counts in the loss."""
        return self.sample_weight * (1 if self.loss_weight is None else self.loss_weight)


class History(NamedTuple):
    """A sequence field's embedded ids, in the order of time, its companions' added; `present` marks
    those of no padding, which come first."""

    items: Float[Array, "B S D"]
    present: Bool[Array, "B S"]


class Number(NamedTuple):
    """The standardised values of a numeric field; 0 where unknown, as in masked rows."""

    values: Float[Array, " B"]
    known: Bool[Array, " B"]


class Label(NamedTuple):
    """A task's label, in training, for auxiliary losses; never an input of a logit.

    Attributes:
      values: 0 or 1, or a regression's number.
      known: False where the label is missing, outside of the task's space, and in padding.
      positives: the whole batch's rows whose known label is 1, the same in each row.
      rows: the whole batch's rows without padding, the same in each row.
    """

    values: Float[Array, " B"]
    known: Bool[Array, " B"]
    positives: Float[Array, " B"]
    rows: Float[Array, " B"]


@flax.struct.dataclass
class Inputs:
    """The looked-up inputs of a batch.

    Attributes:
      fields: per view, the field embeddings `[B, F, D]`; most architectures read `shared`.
        In what an architecture reads, those of vectors, numbers and sequences are complete.
      codewords: `[B, P, N, C, D]` for HCNet experts, None without them: for each of P field
        pairs and N hashes the codeword of each of the model's C codebooks.
      row_mask: `[B]`, False for padding; normalisation statistics skip those rows.
      vectors: per vector field its K numbers, zeros where the vector is missing.
      numbers: per numeric field that has an embedding of its value, the values.
      histories: per view, of each sequence field what its embedding is pooled from.
      labels: per task, in training alone; empty where rows are scored.
      ids: of each categorical field its id, the row of its table; -1 in padding.
      names: of the F fields.
    """

    fields: dict[str, Float[Array, "B F D"]]
    codewords: Float[Array, "B P N C D"] | None
    row_mask: Bool[Array, " B"]
    vectors: dict[str, Float[Array, "B _"]] = flax.struct.field(default_factory=dict)
    numbers: dict[str, Number] = flax.struct.field(default_factory=dict)
    histories: dict[str, dict[str, History]] = flax.struct.field(default_factory=dict)
    labels: dict[str, Label] = flax.struct.field(default_factory=dict)
    ids: dict[str, Int[Array, " B"]] = flax.struct.field(default_factory=dict)
    names: tuple[str, ...] = flax.struct.field(pytree_node=False, default=())

    def of(self, names: Sequence[str], view: str = SHARED) -> Float[Array, "B K D"]:
        """The embeddings of the K fields of these names."""
        return self.fields[view][:, np.array([self.names.index(name) for name in names])]


@flax.struct.dataclass
class Outputs:
    """What an architecture returns.

    Attributes:
      logits: per task `[B]`; `[B, K]` where its loss has K outputs.
      aux: auxiliary losses per example, `[B]` each, added to the loss.
      intermediates: `experts`, their outputs by name, and what else there is to look at; free
        when unused. An architecture with gates has `gates`, {gate: {source: `[B]`}}, whose weights
        sum to 1 in each gate. A gate is called by who reads through it, a task or `shared`, and
        where that one has several by which it is (`click/own`, `click/level_0`); a source is an
        expert, in AITM and cross-stitch a task, in MetaHeac's `click/critics` a critic, in a trunk
        `token/NAME` or `field/NAME`, which is attended to. `effective` has what each source is
        multiplied by in all, where that is something else than the gate's weight: something scales
        the experts after the gate (TSN, AdaTT's native weights), or the gate shows shares of
        weights that need not sum to 1 (SNR, cross-stitch, M3oE).
    """

    logits: dict[str, Float[Array, "B ..."]]
    aux: dict[str, Float[Array, " B"]] = flax.struct.field(default_factory=dict)
    intermediates: dict[str, Any] = flax.struct.field(default_factory=dict)
