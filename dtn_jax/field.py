"""One input column of a data set: its kind, its table and what an example holds of it."""

from __future__ import annotations

import dataclasses

from dtn_jax.errors import UserError, choose

FIELD_KINDS = ("categorical", "bag", "sequence", "numeric", "vector")
SEVERAL = ("bag", "sequence")  # kinds of which an example holds several ids
POOLINGS = ("sum", "mean", "max")
ROLES = ("", "scenario", "prior")  # what some architectures read a field as
SCALED = "scaled"  # of a number's embeddings, the one without parameters
EMBEDDINGS = (SCALED, "piecewise_linear", "periodic", "autodis")  # of standardised numbers
# Younger attributes of fields, tasks and schemas: a set with these values keeps its fingerprint.
YOUNGER = {
    "weighted": False,
    "length": 0,
    "embedding": SCALED,
    "edges": (),
    "target": "",
    "beside": "",
    "role": "",
    "tokens": "",
    "quantiles": (),
    "day": "",
    "loss_weight": "",
    "columns": (),
}


@dataclasses.dataclass(frozen=True)
class Field:
    """One input column; a schema file's is checked further where that is read.

    Attributes:
      name: the column's name.
      kind: one of FIELD_KINDS.
      rows: rows of its table, the unknown row 0 included.
      table: the table's name; fields that name the same table share its rows. Default: the name.
      slots: how many ids an example holds (1 for a plain column; the cap of a bag or a sequence).
      pooling: how the rows of a bag or a sequence become one vector: see pooling.py.
      weighted: each of a bag's ids has a weight, which its pooling uses.
      standardised: a numeric field whose value, standardised, is kept (instead of the default, the
        id of a quantile bucket). Its table has two rows: 0 for a missing value, 1 for a known one.
      embedding: of a standardised number x, one of EMBEDDINGS: x times row 1 (scaled), or row 1
        plus what one of models/numbers makes of x.
      edges: of piecewise_linear, the ascending edges of its bins, in units of standardised values.
      length: K, the numbers of a vector field, projected to the embedding's width. Its table has
        two rows: 0 for a missing vector, and 1, which is added to every projected one.
      target: of a sequence, whose ids are in the order of time, the newest last: the field whose
        value is the next such id, the item to be ranked. They share a table.
      beside: of a companion, a sequence without a target: the history beside whose n-th item its
        n-th id stands, such as an action or a gap of time. It is no field of its own in a model:
        its rows are added to the items' rows.
      role: one of ROLES: of a scenario, such as a page or a market, whose rows differ from those of
        others; of a prior, such as the user's and the item's id, by which a model is personalised.
      tokens: the group of fields, such as `user`, that are one token in models of tokens.
    """

    name: str
    kind: str = "categorical"
    rows: int = 1
    table: str = ""
    slots: int = 1
    pooling: str = "sum"
    weighted: bool = False
    standardised: bool = False
    length: int = 0
    embedding: str = SCALED
    edges: tuple[float, ...] = ()
    target: str = ""
    beside: str = ""
    role: str = ""
    tokens: str = ""

    def __post_init__(self):
        object.__setattr__(self, "table", self.table or self.name)
        object.__setattr__(self, "edges", tuple(self.edges))
        words = {"kind": FIELD_KINDS, "pooling": POOLINGS, "role": ROLES, "embedding": EMBEDDINGS}
        for what, choices in words.items():
            choose(f"{what} of field {self.name!r}", getattr(self, what), choices)
        if self.rows < 1:
            raise UserError(f"field {self.name!r}: its table has {self.rows} rows, expected >= 1")
        if self.embedded and not self.standardised:
            buckets = ", in buckets" if self.kind == "numeric" else ""
            raise UserError(
                f"field {self.name!r} is {self.kind}{buckets}; only a standardised number has an "
                "embedding of its value: standardise it where the data set is prepared"
            )
        if self.embedding == "piecewise_linear" and not self.edges:
            raise UserError(
                f"field {self.name!r} cannot be piecewise_linear, because its set keeps no bins of "
                "it: prepare the set again with bins (bins: 48 in a schema file), or choose one of "
                f"{', '.join(e for e in EMBEDDINGS if e != self.embedding)}"
            )

    @property
    def embedded(self) -> bool:
        """Whether the model makes the embedding of the field's value, by parameters of its own."""
        return self.embedding != SCALED

    @property
    def numbers(self) -> int:
        """How many numbers an example holds: 1 where standardised, K of a vector."""
        return self.length or int(self.standardised)
