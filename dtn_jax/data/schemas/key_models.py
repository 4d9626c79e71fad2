"""The keys of a schema file: a pydantic model of each mapping, with its types, ranges and defaults.

What a key means stands once, in its model's docstring, which `dtn-jax prepare --help=schema` shows.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, WrapValidator

from dtn_jax.data.formula import FUNCTIONS, parse
from dtn_jax.data.schemas.spec import FORMATS, OUTSIDE
from dtn_jax.data.schemas.yaml_lines import Null, shown
from dtn_jax.data.times import TIME_UNITS
from dtn_jax.errors import UserError, choose
from dtn_jax.field import EMBEDDINGS, FIELD_KINDS, POOLINGS, ROLES, SCALED
from dtn_jax.schema import ALL, TASK_KINDS

RAREST = 1e-9  # rate of negatives: beyond, float32 loses what their weight, 1 / rate, is added to
MANY = 1_000_000  # quantiles of a field, or numbers of a vector
COMPANION = "companion"  # what a sequence is that stands beside another one
CROSS = "cross"  # what a categorical field is whose values are pairs
ENCODERS = {  # of each kind, of crosses and companions; the first is the default
    "categorical": ("vocabulary", "hash", "identity"),
    CROSS: ("vocabulary", "hash"),
    "bag": ("vocabulary", "hash", "identity"),
    "sequence": ("target",),  # that of the field which is its target
    COMPANION: ("vocabulary", "hash", "identity"),
    "numeric": ("buckets", "standardise"),
    "vector": ("standardise", "none"),
}


class Only(tuple):
    """The kinds, encoders or splits that have a key."""


def titled(kind: Any, title: str, *checks: Any, **limits: Any) -> Any:
    """A type that messages and the help call `title`; `checks` are pydantic's validators."""

    def read(value: Any, handler: Callable) -> Any:
        try:
            return handler(value)
        except pydantic.ValidationError as error:
            inner = error.errors()[0].get("ctx", {}).get("error")
            raise inner or UserError(f"expected {title}, got {shown(value)}") from None

    return Annotated[kind, Field(title=title, **limits), *checks, WrapValidator(read)]


def whole(least: int, most: int = 2**31 - 1) -> Any:
    """The type of a whole number; 1e6 is one."""
    limits = {"ge": least, "le": most, "multiple_of": 1, "allow_inf_nan": False}
    title = f"a whole number from {least} to {most:,}"
    return titled(float, title, AfterValidator(int), **limits)


def once(names: tuple[str, ...]) -> tuple[str, ...]:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"{name!r} is listed twice")
    return names


def word(*words: str) -> Any:
    """The type of one of some words."""
    return titled(str, " | ".join(words), AfterValidator(lambda text: choose("word", text, words)))


LISTED = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
ONE = BeforeValidator(lambda value: value and (None if isinstance(value, Null) else value,))
PARSED = AfterValidator(lambda text: parse(text, "expression"))

Text = titled(str, "a text", min_length=1)
Texts = titled(tuple[str, ...], "a list of texts such as [a, b]", LISTED)
Formula = titled(str, "an expression", PARSED, min_length=1)
Scalar = titled(tuple[str | None], "a value such as 1, or null for the unknown id", ONE)
TokenGroup = titled(str, "a name such as user", pattern=r"^[A-Za-z0-9_-]+$")
ASCII = r"^[\x00-\x09\x0b\x0c\x0e-!#-\x7f]$"  # but for line breaks and the quote
Character = titled(str, r'one character such as "\t"', pattern=ASCII)
Encoder = word(*dict.fromkeys(name for names in ENCODERS.values() for name in names))
Pair = titled(tuple[str, str], "two fields", AfterValidator(once))
Truth = titled(bool, "true or false")
Count = whole(1)
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = titled(Number, "a share, from 0 to 1", ge=0, le=1)
Range = titled(tuple[Number, Number], "two numbers such as [0, 12]")
Rate = titled(float, f"a rate from {RAREST:g} to 1", ge=RAREST, le=1)
Rates = titled(dict[str, Rate], "{task: rate}")
Cut = titled(Number | Text, "a share such as 0.1, or a time", union_mode="left_to_right")
Values = titled(dict[word("train", "validation", "test"), Texts], "{split: its values}")
About = titled(dict[word("citation", "licence", "home", "protocol"), Text], "{citation: text, …}")

LISTS, CSV = Only(("bag", "sequence")), Only(("csv",))
STANDARD = Only(("numeric with the encoder standardise",))
ALONE = Only(tuple(kind for kind in ENCODERS if kind != COMPANION))
SPLITS = ("time", "user_order", "group", "random", "column")


class Keys(pydantic.BaseModel):
    """A mapping; `key: null` is as good as none.

    Attributes:
      single: the key that a text alone is the value of.
    """

    single: ClassVar[str] = ""

    @pydantic.model_validator(mode="before")
    @classmethod
    def given(cls, data: Any) -> dict[str, Any]:
        """The keys that have a value; UserError for an unknown one, or for no mapping."""
        data = {cls.single: data} if cls.single and isinstance(data, str) else data
        if not isinstance(data, dict):
            expected = f"keys and values, of {', '.join(cls.model_fields)}"
            raise UserError(f"expected {expected}, got {shown(data)}")
        for key in data:
            try:
                choose("key", key, cls.model_fields)
            except UserError as error:
                error.args += (key,)  # where it is
                raise
        return {k: v for k, v in data.items() if not isinstance(v, Null) or k == "scored_as"}

    def __contains__(self, key: str) -> bool:
        """Whether a key is given."""
        return key in self.model_fields_set


class HistoryKeys(Keys):
    """Keys of history.

    Attributes:
      of: the field whose earlier values are listed, such as the item; must be given
      where: which rows count, such as click == 1; default: all
      last: how many values are kept, the newest
      by: the column of users; a history is made from one user's rows; default: the group
    """

    of: Text
    where: Formula = None
    last: Count = 50
    by: Text = ""


class FieldKeys(Keys):
    """Keys of a field.

    Attributes:
      kind: of its values; a companion is a sequence with beside, a cross is categorical; default:
        categorical; with history or beside sequence
      column: the column that holds the values; default: the field's name
      value: in place of a column, such as hour(t)
      cross: two categorical fields; the values are their pairs
      scored_as: what stands for the field when rows are scored, as for a position that only
        training knows; null is the unknown id; default: as logged
      optional: a log, or a scored row, may lack its column
      role: what some architectures read the field as: a scenario, such as a page or a market, or a
        prior, such as the user's or the item's id; default: none
      tokens: the name of a group of fields, such as user, that models of tokens read as one token;
        default: none
      encoder: how values become rows of a table: vocabulary, hash or identity, whose values are the
        rows 1 to size (categorical, bag, companion), buckets or standardise (numeric), standardise
        or none (vector); a sequence has its target's; default: the first of its kind
      table: fields that name the same one share it; default: the field's name
      min_count: a value that train has less often is unknown
      unknown: values that stand for a missing one; default: none
      size: rows of the table; must be given
      functions: 2 for two rows a value, added; in a bag only with pooling sum
      buckets: quantiles of train
      log: sign(x) log(1 + |x|) for x
      embedding: of the values, unless model.numbers says others
      bins: for piecewise_linear: quantiles of train; default: 48 for piecewise_linear, else none
      weights: the column of lists of the values' weights; default: none
      target: the field whose earlier values it lists, oldest first, such as the item; it has that
        field's table; must be given
      history: in place of a column and a target, makes the lists from the log's own rows: a user's
        earlier values, strictly before the row's time
      beside: in place of a target, of a companion: the sequence beside whose values it has one
        each, such as actions or buckets of gaps in time; its rows are added to theirs
      gap: of a companion of a history that is made from the log, in place of a column:
        floor(log2(1 + s)), s seconds from the item's row to this one
      max_values: how many values are kept
      keep: which ones of a longer list: last keeps the newest of a history that ascends in time;
        default of a sequence: last
      longest: a longer list is a bad row; 0, the default, is no limit
      pooling: how the rows of a list become one; see model.histories for sequences; default of a
        sequence: mean
      length: of each list; must be given
    """

    kind: word(*FIELD_KINDS) = ""
    column: Text = ""
    value: Formula = None
    cross: Annotated[Pair, Only(("categorical", CROSS))] = ()
    scored_as: Annotated[Scalar, Only(("categorical", "numeric"))] = ()
    optional: Annotated[Truth, Only(tuple(kind for kind in ENCODERS if kind != CROSS))] = False
    role: Annotated[word(*filter(None, ROLES)), ALONE] = ""
    tokens: Annotated[TokenGroup, ALONE] = ""
    encoder: Encoder = ""
    table: Annotated[Text, Only(("categorical", CROSS, "bag", COMPANION))] = ""
    min_count: Annotated[Count, Only(("vocabulary",))] = 1
    unknown: Annotated[Texts, Only(("categorical", "bag", COMPANION))] = ()
    size: Annotated[Count, Only(("hash", "identity"))] = 0
    functions: Annotated[whole(1, 2), Only(("hash",))] = 1
    buckets: Annotated[whole(2, MANY), Only(("buckets",))] = 32
    log: Annotated[Truth, Only(("numeric",))] = False
    embedding: Annotated[word(*EMBEDDINGS), STANDARD] = SCALED
    bins: Annotated[whole(1, MANY), STANDARD] = 0
    weights: Annotated[Text, Only(("bag",))] = ""
    target: Annotated[Text, Only(("sequence",))] = ""
    history: Annotated[HistoryKeys, Only(("sequence",))] = None
    beside: Annotated[Text, Only(("sequence", COMPANION))] = ""
    gap: Annotated[Truth, Only((COMPANION,))] = False
    max_values: Annotated[Count, LISTS] = 50
    keep: Annotated[word("first", "last"), LISTS] = "first"
    longest: Annotated[whole(0), LISTS] = 0
    pooling: Annotated[word(*POOLINGS), LISTS] = "sum"
    length: Annotated[whole(1, MANY), Only(("vector",))] = 0


class TaskKeys(Keys):
    """Keys of a task.

    Attributes:
      kind: of the label
      label: a column, or such as watch > 30; default: the column of its name
      known: where the label is known; elsewhere it is missing; default: everywhere
      range: [least, most] of the label, both allowed; default: any
      space: rows of its loss: all, or where that task's label is 1
      also_report: further spaces of its metrics; default: none
      upstream: tasks whose prediction it may read; default: none
      positives_outside: of its positives that may lie on rows where the task of a space, or an
        upstream task, is 0; prepare fails above it
    """

    kind: word(*TASK_KINDS) = "binary"
    label: Formula = None
    known: Formula = None
    range: Annotated[Range, Only(("regression",))] = (None, None)
    space: Text = ALL
    also_report: Texts = ()
    upstream: Texts = ()
    positives_outside: Annotated[Share, Only(("binary",))] = OUTSIDE


class SplitKeys(Keys):
    """Keys of split.

    Attributes:
      by: what decides
      validation: where it starts, or how much it is; by column: a share of train
      test: where it starts, or how much it is
      seed: of the draw; default: 0
      column: the column that says a row's split; _file is the name of its file
      values: its values in the column; default: the splits' names
    """

    single = "by"
    by: word(*SPLITS) = ""
    validation: Cut = 0.1
    test: Annotated[Cut, Only(SPLITS[:-1])] = 0.1
    seed: Annotated[whole(0), Only(("group", "random", "column"))] = 0
    column: Annotated[Text, Only(("column",))] = ""
    values: Annotated[Values, Only(("column",))] = {}


class TimeKeys(Keys):
    """Keys of time.

    Attributes:
      column: the column of the times; must be given
      unit: of its values; default: by their type and size
    """

    single = "column"
    column: Text
    unit: word(*TIME_UNITS) = ""


class InputKeys(Keys):
    """Keys of input.

    Attributes:
      format: of the files; default: by their suffix
      separator: between columns
      columns: their names, for files without a header
      missing: that stand for a missing value, as nothing does
    """

    format: word(*FORMATS) = ""
    separator: Annotated[Character, CSV] = ","
    columns: Annotated[Texts, AfterValidator(once), CSV] = ()
    missing: Annotated[Texts, CSV] = ()


class FileKeys(Keys):
    """Keys of the file.

    Attributes:
      name: of the data set and its folder; default: the file's name
      fields: inputs of the model, or a list of their names, or of options with a name
      tasks: labels, in the same way
      group: the column of groups, such as users, within whose rows metrics are also taken
      time: when a row was logged: a column, or the keys of time
      weight: the column of how many rows each one stands for, such as 1 / rate where negatives were
        sampled: in the loss, metrics and calibration
      loss_weight: the column of what a row counts in the loss alone, times its weight
      split: which rows train, pick and are reported: a word, or the keys of split; default: by
        time, else random
      sample_negatives: of train's rows whose label is 0, that share is kept
      input: how files are read, where their names do not say
      about: citation, licence (under which it may be used), home (where to get it) and protocol
        (its tasks and splits, and whose they are)
    """

    name: Text = ""
    fields: dict[Text, FieldKeys]
    tasks: dict[Text, TaskKeys]
    group: Text = ""
    time: TimeKeys = None
    weight: Text = ""
    loss_weight: Text = ""
    split: SplitKeys = None
    sample_negatives: Rates = {}
    input: InputKeys = None
    about: About = {}


SECTIONS = (FileKeys, FieldKeys, HistoryKeys, TaskKeys, SplitKeys, TimeKeys, InputKeys)


def help_text() -> str:
    """Every key of a schema file, with its type, meaning and default."""
    lines = []
    for section in SECTIONS:
        title, _, texts = inspect.getdoc(section).partition(".\n\nAttributes:\n")
        lines.append(title)
        for name, text in re.findall(r"^  (\w+): (.*(?:\n    .*)*)", texts, re.MULTILINE):
            key = section.model_fields[name]
            notes = [f"for {', '.join(m)}" for m in key.metadata if isinstance(m, Only)]
            if "default" not in text and key.default and not key.is_required():
                notes.append(f"default: {key.default}")
            note = f" ({'; '.join(notes)})" if notes else ""
            lines.append(
                f"  {name:17s} {key.title or 'keys and values'}: {' '.join(text.split())}{note}"
            )
        lines.append("")
    lines += ["Columns that every log has", "  _file             the name of the row's file", ""]
    lines.append("Functions of expressions, in UTC where times are")
    lines += [f"  {name:17s} {function.help}" for name, function in FUNCTIONS.items()]
    return "\n".join(lines)
