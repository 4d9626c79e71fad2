"""The keys of a schema file: what each holds, its default, and for what it has a meaning."""

from __future__ import annotations

from dtn_jax.datasets.logs.schema.forms import Key
from dtn_jax.datasets.logs.schema.spec import (
    COMPANION,
    FORMATS,
    KEEPS,
    KINDS,
    OUTSIDE,
    SPLITS,
    TIME_UNITS,
)
from dtn_jax.datasets.preparation.numbers import BINS
from dtn_jax.field import EMBEDDINGS, POOLINGS, SCALED, SEVERAL
from dtn_jax.schema import TASK_KINDS

FILE = {
    "name": Key("text", "of the data set and its folder", "the file's name"),
    "fields": Key("list or mapping", "inputs of the model: {name: options}, or a list of names"),
    "tasks": Key("list or mapping", "labels: {name: options}, or a list of names"),
    "group": Key("column", "metrics are also taken within its groups, such as a user's rows"),
    "time": Key("column or mapping", "when a row was logged; or {column: …, unit: …}"),
    "weight": Key(
        "column",
        "of how many rows each one stands for, such as 1 / rate where negatives were sampled: in "
        "the loss, metrics and calibration",
    ),
    "loss_weight": Key("column", "of what a row counts in the loss alone, times its weight"),
    "split": Key("word or mapping", "train, validation and test", "by time, else random"),
    "sample_negatives": Key(
        "mapping", "{task: rate}: of train's rows whose label is 0, that share is kept"
    ),
    "input": Key("mapping", "how files are read, where their names do not say"),
    "about": Key("mapping", "texts: citation, licence, home"),
}

VOCABULARY, HASH, BUCKETS = ("vocabulary",), ("hash",), ("buckets",)
SIZED = (*HASH, "identity")
IDS, BAG, NUMERIC, SEQUENCE = ("categorical", "bag"), ("bag",), ("numeric",), ("sequence",)
OWN = (*IDS, COMPANION)  # have a table of their own
MANY = 1_000_000  # quantiles of a field, or numbers of a vector
FIELD = {
    "name": Key("text", "of the field, in a list of fields"),
    "kind": Key(
        "text",
        "of its values; a companion is a sequence with beside",
        "categorical; with history or beside sequence",
        KINDS,
    ),
    "column": Key("column", "that holds the values", "the field's name"),
    "value": Key("expression", "in place of a column, such as hour(t)"),
    "cross": Key("texts", "two categorical fields; the values are their pairs", only=IDS[:1]),
    "scored_as": Key(
        "value or null",
        "what stands for the field when rows are scored, as for a position that only training "
        "knows; null is the unknown id",
        "as logged",
        only=("categorical", "numeric"),
    ),
    "optional": Key("true or false", "a log, or a scored row, may lack its column", "false"),
    "encoder": Key(
        "text",
        "how values become rows of a table: vocabulary, hash or identity, whose values are the "
        "rows 1 to size (categorical, bag, companion), buckets or standardise (numeric), "
        "standardise or none (vector); a sequence has its target's",
        "the first of its kind",
    ),
    "table": Key("text", "fields that name the same one share it", "the field's name", only=OWN),
    "min_count": Key(
        "whole number", "a value that train has less often is unknown", "1", (), 1, VOCABULARY
    ),
    "unknown": Key("texts", "values that stand for a missing one", "none", only=OWN),
    "size": Key("whole number", "rows of the table", "must be given", (), 1, SIZED),
    "functions": Key(
        "whole number",
        "1, or 2: two rows a value, added; in a bag only with pooling sum",
        "1",
        (),
        1,
        HASH,
    ),
    "buckets": Key("whole number", "quantiles of train", "32", (), 2, BUCKETS, MANY),
    "log": Key("true or false", "sign(x) log(1 + |x|) for x", "false", only=NUMERIC),
    "embedding": Key(
        "text",
        "of the values of encoder standardise, unless model.numbers says others",
        SCALED,
        EMBEDDINGS,
        only=NUMERIC,
    ),
    "bins": Key(
        "whole number",
        "of encoder standardise, for piecewise_linear: quantiles of train",
        f"{BINS} for piecewise_linear, else none",
        (),
        1,
        NUMERIC,
        MANY,
    ),
    "weights": Key("column", "a list of the values' weights", "none", only=BAG),
    "target": Key(
        "text",
        "of a sequence: the field whose earlier values it lists, oldest first, such as the item; "
        "it has that field's table",
        "must be given",
        only=SEQUENCE,
    ),
    "history": Key(
        "mapping",
        "in place of a column and a target, makes the lists from the log's own rows: a user's "
        "earlier values, strictly before the row's time",
        only=SEQUENCE,
    ),
    "beside": Key(
        "text",
        "in place of a target, of a companion: the sequence beside whose values it has one each, "
        "such as actions or buckets of gaps in time; its rows are added to theirs",
        "none",
        only=(*SEQUENCE, COMPANION),
    ),
    "gap": Key(
        "true or false",
        "of a companion of a history that is made from the log, in place of a column: "
        "floor(log2(1 + s)), s seconds from the item's row to this one",
        "false",
        only=(COMPANION,),
    ),
    "max_values": Key("whole number", "how many values are kept", "50", (), 1, SEVERAL),
    "keep": Key(
        "text",
        "which ones of a longer list: last keeps the newest of a history that ascends in time",
        "first; of a sequence last",
        KEEPS,
        only=SEVERAL,
    ),
    "longest": Key("whole number", "a longer list is a bad row; 0: no limit", "0", (), 0, SEVERAL),
    "pooling": Key(
        "text",
        "how the rows of a list become one; see model.histories for sequences",
        "sum; of a sequence mean",
        POOLINGS,
        only=SEVERAL,
    ),
    "length": Key("whole number", "of each list", "must be given", (), 1, ("vector",), MANY),
}

HISTORY = {
    "of": Key("text", "the field whose earlier values are listed, such as the item"),
    "where": Key("expression", "which rows count, such as click == 1", "all"),
    "last": Key("whole number", "how many values are kept, the newest", "50", (), 1),
    "by": Key("column", "of users; a history is made from one user's rows", "the group"),
}

TASK = {
    "name": Key("text", "of the task, in a list of tasks"),
    "kind": Key("text", "of the label", "binary", TASK_KINDS),
    "label": Key("expression", "a column, or such as watch > 30", "the column of its name"),
    "known": Key("expression", "where the label is known; elsewhere it is missing", "everywhere"),
    "range": Key("range", "[least, most] of the label, both allowed", "any", only=("regression",)),
    "space": Key("text", "rows of its loss: all, or where that task's label is 1", "all"),
    "also_report": Key("texts", "further spaces of its metrics", "none"),
    "upstream": Key("texts", "tasks whose prediction it may read", "none"),
    "positives_outside": Key(
        "share",
        "of its positives that may lie on rows where the task of a space, or an upstream task, is "
        "0; prepare fails above it",
        f"{OUTSIDE:g}",
        only=("binary",),
    ),
}

CUT = ("time", "user_order", "group", "random")
SPLIT = {
    "by": Key("text", "what decides", "", SPLITS),
    "validation": Key(
        "share or time", "where it starts, or how much it is; by column: a share of train", "0.1"
    ),
    "test": Key("share or time", "where it starts, or how much it is", "0.1", only=CUT),
    "seed": Key("whole number", "of the draw", "0", (), 0, ("group", "random", "column")),
    "column": Key(
        "column", "that says a row's split; _file is the name of its file", only=("column",)
    ),
    "values": Key(
        "mapping", "{split: its values in the column}", "the splits' names", only=("column",)
    ),
}

INPUT = {
    "format": Key("text", "of the files", "by their suffix", FORMATS),
    "separator": Key("text", "between columns", ",", only=("csv",)),
    "columns": Key("texts", "their names, for files without a header", only=("csv",)),
    "missing": Key("texts", "that stand for a missing value, as nothing does", only=("csv",)),
}

TIME = {
    "column": Key("column", "of the times"),
    "unit": Key("text", "of its values", "by their type and size", TIME_UNITS),
}

ABOUT = {
    "citation": Key("text", "how the set is cited"),
    "licence": Key("text", "under which it may be used"),
    "home": Key("text", "where to get it"),
    "protocol": Key("text", "its tasks and splits, and whose they are"),
}

SECTIONS = {
    "the file": FILE,
    "a field": FIELD,
    "history": HISTORY,
    "a task": TASK,
    "split": SPLIT,
    "time": TIME,
    "input": INPUT,
    "about": ABOUT,
}
