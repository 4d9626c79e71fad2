"""One input column of a data set."""

from __future__ import annotations

import dataclasses

from dtn_jax.errors import UserError, choose

FIELD_KINDS = ("categorical", "bag", "sequence", "numeric", "vector")
SEVERAL = ("bag", "sequence")  # kinds of which an example holds several ids
POOLINGS = ("sum", "mean", "max")


@dataclasses.dataclass(frozen=True)
class Field:
    """One input column.

    Attributes:
      name: the column's name.
      kind: one of FIELD_KINDS.
      rows: rows of its table, the unknown row 0 included.
      table: the table's name; fields that name the same table share its rows. Default: the name.
      slots: how many ids an example holds (1 for a plain column; the cap of a bag or a sequence).
      pooling: how the rows of a bag or a sequence become one vector: see pooling.py.
      weighted: each of a bag's ids has a weight, which its pooling uses.
      standardised: a numeric field whose value, standardised, scales row 1 of its table
        (instead of the default, the id of a quantile bucket).
      length: K, the numbers of a vector field, projected to the embedding's width. Its table has
        two rows: 0 for a missing vector, and 1, which is added to every projected one.
      target: of a sequence, whose ids are in the order of time, the newest last: the field whose
        value is the next such id, the item to be ranked. They share a table.
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
    target: str = ""

    def __post_init__(self):
        choose(f"kind of field {self.name!r}", self.kind, FIELD_KINDS)
        choose(f"pooling of field {self.name!r}", self.pooling, POOLINGS)
        if not self.table:
            object.__setattr__(self, "table", self.name)
        it = f"field {self.name!r} is {self.kind}"
        if self.rows < 1:
            raise UserError(f"field {self.name!r}: its table has {self.rows} rows, expected >= 1")
        if self.slots < 1:
            raise UserError(f"field {self.name!r} has {self.slots} slots, expected >= 1")
        if self.slots > 1 and self.kind not in SEVERAL:
            holds = " or ".join(SEVERAL)
            raise UserError(f"{it} but has {self.slots} slots; only a {holds} holds several ids")
        if bool(self.target) != (self.kind == "sequence"):
            raise UserError(f"{it} with the target {self.target!r}; a sequence alone has one")
        if self.weighted and self.kind != "bag":
            raise UserError(f"{it}; only a bag's ids have weights")
        if self.weighted and self.pooling == "max":
            raise UserError(f"field {self.name!r}: max pooling has no use for weights")
        if self.standardised and self.kind != "numeric":
            raise UserError(f"{it}; only a numeric field is standardised")
        if self.length and self.kind != "vector":
            raise UserError(f"{it}; only a vector has a length")
        if self.kind == "vector" and (self.length < 1 or self.rows != 2):
            found = f"the length {self.length} and a table of {self.rows} rows"
            raise UserError(f"{it}, with {found}; expected a length >= 1 and 2 rows")

    @property
    def numbers(self) -> int:
        """How many numbers an example holds: 1 where standardised, K of a vector."""
        return self.length or int(self.standardised)
