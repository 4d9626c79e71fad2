"""What a schema file says, as dataclasses. `schema_file.py` reads one, `infer` writes one.

`keys.py` has the keys that a person writes, and their defaults. These dataclasses have what they
come to, and stand apart since models are scored where pydantic is not installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from dtn_jax.data.formula import Expression

FORMATS = ("parquet", "csv", "jsonl", "arrow")
LISTED = ("bag", "sequence", "vector")  # kinds whose columns hold lists
OUTSIDE = 0.01  # p(t) / p(s) is at most 1.01 times p(t | s) then: below 38,000 positives, chance


@dataclasses.dataclass(frozen=True, kw_only=True)
class HistorySpec:
    """Which earlier rows of the log a sequence lists, strictly before the row's time.

    Attributes:
      where: which rows count; None: all.
      by: the column of users; rows with the same value are one user's.
    """

    by: str
    where: Expression | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One input of the model. Every option has a meaning for some kinds or encoders alone.

    Attributes:
      name: of the field.
      kind: one of FIELD_KINDS of `dtn_jax.field`.
      value: what it holds: a column, or an expression such as `hour(t)`.
      cross: two categorical fields whose pairs of values it holds, instead of a value.
      scored_as: (): the model scores what a row has. Else one value, as text, that stands for the
        field's own when rows are scored, in its crosses too; None is the unknown id.
      optional: a log, or a row to score, may lack its columns: its values are missing then.
      role, tokens: as in `dtn_jax.field`; no part of the meaning, as rows do not depend on them.
      encoder: one of `keys.ENCODERS` of its kind.
      table: the embedding table; fields that name the same one share it. Default: the name.
      min_count: vocabulary: a value that train shows less often becomes the unknown id.
      unknown: categorical, bag, companion: values that stand for a missing one, as text.
      size: hash, identity: rows of the table, the unknown one not counted.
      functions: hash: 1, or 2 for two rows a value, which are added; a bag then sums.
      buckets: buckets: how many.
      log: numeric: the sign of x times log(1 + |x|) takes its place.
      embedding: standardise (numeric): what a model makes of the value, one of EMBEDDINGS of
        `dtn_jax.field`, where its config does not say.
      bins: standardise (numeric): quantiles of train that are kept as edges of bins; 0 is none.
      weights: bag: the list column of the values' weights.
      target: sequence: the field whose value its ids are earlier ones of, such as the item.
      history: sequence: the log's own rows from which its lists are made, in place of a column. A
        companion has its history's; its value is that of an event's row.
      beside: sequence, in place of a target: the history beside whose n-th value its n-th stands.
        `max_values`, `keep` and `longest` are that one's.
      gap: companion with a history, in place of a value: floor(log2(1 + seconds from the event)).
      max_values: bag, sequence: how many values are kept.
      keep: bag, sequence: which ones of a longer list: first or last.
      longest: bag, sequence: a row whose list is longer is rejected; 0 is no limit.
      pooling: bag, sequence: sum, mean or max.
      length: vector: numbers in each list.
      line: of the schema file, for messages.
    """

    name: str
    kind: str
    value: Expression | None
    cross: tuple[str, ...]
    scored_as: tuple[()] | tuple[str | None]
    optional: bool
    role: str
    tokens: str
    encoder: str
    table: str
    min_count: int
    unknown: tuple[str, ...]
    size: int
    functions: int
    buckets: int
    log: bool
    embedding: str
    bins: int
    weights: str
    target: str
    history: HistorySpec | None
    beside: str
    gap: bool
    max_values: int
    keep: str
    longest: int
    pooling: str
    length: int
    line: int

    @property
    def listed(self) -> bool:
        """Whether its column holds lists."""
        return self.kind in LISTED and self.history is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One label.

    Attributes:
      name, kind, space, also_report, upstream: as of `dtn_jax.schema.Task`.
      label: a column or an expression; for a binary task 0, 1, false or true.
      known: where the label is known; elsewhere it is missing, whatever the column says. None:
        everywhere, so that a missing label is an error.
      least, most: the range of a regression's label, both allowed.
      positives_outside: the share of positives that may lie where a task that it is taken to need
        is 0 (`positives.relations`).
      line: of the schema file.
    """

    name: str
    label: Expression
    kind: str
    known: Expression | None
    least: float | None
    most: float | None
    space: str
    also_report: tuple[str, ...]
    upstream: tuple[str, ...]
    positives_outside: float
    line: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """Which rows train, which pick (validation) and which are reported (test).

    Attributes:
      by: one of these.
        time: rows from the time `validation` on are validation, from `test` on test.
        user_order: the last rows of each group, in order of time, are test, those before them
          validation.
        group: whole groups, drawn by a hash of the group.
        random: single rows, drawn by a hash of their place.
        column: the column says; where it names no validation rows, a share of train's is drawn by
          a hash: whole groups, or single rows of a log without groups.
      validation, test: a share of the rows (a number below 1); for `time` also a time, as text;
        for `user_order` also a number of rows, from 1 on. For `column`, validation is a share of
        train's.
      seed: of the draw by a hash.
      column: of `column`.
      values: of `column`: {split: the column's values, as text}; empty: the splits' names. Without
        validation, that is drawn.
      line: of the schema file.
    """

    by: str
    validation: float | str = 0.1
    test: float | str = 0.1
    seed: int = 0
    column: str = ""
    values: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    line: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How raw files are read, where their names and first lines do not say.

    Attributes:
      format: one of FORMATS; '' goes by the file's suffix.
      separator: csv: between columns.
      columns: csv: their names, for files without a header.
      missing: csv: texts that stand for a missing value, beside an empty one.
    """

    format: str = ""
    separator: str = ","
    columns: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """A schema file.

    Attributes:
      name: of the data set: its folder's.
      fields, tasks: in the order of the file.
      split: how rows are split.
      time: the time column; '' without.
      time_unit: one of `times.TIME_UNITS`; '' goes by the column's type and size.
      group: the column of the groups for GAUC; '' without.
      weight: the column of the examples' weights, in the loss and in metrics; '' without.
      loss_weight: the column of what multiplies them in the loss; '' without.
      sample_negatives: {task: rate}: a train row is kept with the largest of the rates of those
        tasks, 1 where the label is 1, and weighs 1 / that rate.
      input: how raw files are read.
      about: citation, licence, home: texts about a public set.
      path: of the schema file, for messages.
    """

    name: str
    fields: tuple[FieldSpec, ...]
    tasks: tuple[TaskSpec, ...]
    split: SplitSpec
    time: str = ""
    time_unit: str = ""
    group: str = ""
    weight: str = ""
    loss_weight: str = ""
    sample_negatives: Mapping[str, float] = dataclasses.field(default_factory=dict)
    input: InputSpec = InputSpec()
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    path: str = ""

    def fixed(self) -> dict[str, str | None]:
        """{field: the value, as text, that stands for its own when rows are scored}."""
        return {field.name: field.scored_as[0] for field in self.fields if field.scored_as}

    def histories(self) -> tuple[FieldSpec, ...]:
        """The fields whose lists are made from the log's own rows; without their companions."""
        return tuple(field for field in self.fields if field.history and not field.beside)

    def companions(self, history: str) -> tuple[FieldSpec, ...]:
        """The fields that stand beside a history."""
        return tuple(field for field in self.fields if field.beside == history)

    def optional(self) -> tuple[str, ...]:
        """The fields that a log, or a row to score, may lack."""
        return tuple(field.name for field in self.fields if field.optional)
