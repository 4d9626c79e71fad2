"""The fields, the tasks and the split of a schema file, each read from its node."""

from __future__ import annotations

import dataclasses
import re

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.formula import of_column
from dtn_jax.datasets.logs.schema import keys
from dtn_jax.datasets.logs.schema.keys import COMPANION, CROSS, ENCODERS
from dtn_jax.datasets.logs.schema.spec import LISTED, FieldSpec, HistorySpec, SplitSpec, TaskSpec
from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.datasets.preparation.numbers import BINS
from dtn_jax.errors import UserError

NEEDED = {"hash": "size", "identity": "size", "vector": "length"}  # {encoder or kind: its key}
SOURCES = ("column", "value", "cross", "gap", "history")  # of a field's values
OF_LISTS = ("target", "max_values", "keep", "longest")  # in a column, not of a history
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SPLITS = ("train", "validation", "test")
SHARE = "a share of the rows, above 0 and below 1"
CUTS = {  # {how rows are split: what `validation` and `test` may be}
    "time": f"{SHARE}, or a time such as 2026-03-05",
    "user_order": f"{SHARE}, or a number of rows, from 1 on",
    "group": SHARE,
    "random": SHARE,
    "column": "a share of train, above 0 and below 1",
}


def named(node: Node, what: str) -> dict[str, Node]:
    """{name: its options}, of a mapping, or of a list of names or of mappings with a name."""
    if isinstance(node.value, str):
        raise node.expected(f"{what}s", "{name: options}, or a list of names")
    parts: dict[str, Node] = {}
    listed = isinstance(node.value, list)
    for key, inner in enumerate(node.value) if listed else node.value.items():
        label = inner.at("name")  # itself, where there is none
        name = label.value if listed else key
        if not name or not isinstance(name, str):
            raise inner.error(f"a {what} without a name; expected a text, or {{name: …, kind: …}}")
        if label is not inner and not listed:
            raise label.error(f"{what} {name!r} has its name before the colon")
        if name in parts:
            first = parts[name].line
            raise inner.error(f"{what} {name!r} is listed twice, first in line {first}")
        if inner.null or (listed and label is inner):
            inner = dataclasses.replace(inner, value={})
        if not isinstance(inner.value, dict):
            raise inner.expected(f"{what} {name!r}", "its options, such as {kind: …}")
        parts[name] = inner
    return parts


def field(name: str, node: Node, group: str) -> FieldSpec:
    """A field of the schema file; `group` is the file's column of groups."""
    given = keys.FieldKeys.read(node, f"field {name!r}")
    listed = "history" in given or "beside" in given
    kind = role = given.kind or ("sequence" if listed else "categorical")
    if kind == "sequence" and "beside" in given:
        role = COMPANION
    if kind == "categorical" and "cross" in given:
        role = CROSS
    encoder = given.encoder or ENCODERS[role][0]
    if encoder not in ENCODERS[role]:
        others = [other for other, words in ENCODERS.items() if encoder in words]
        if others:
            told = f"{encoder} is for {', '.join(others)}; expected {', '.join(ENCODERS[role])}"
            raise given.error(told, "encoder")
        node.at("encoder").choose(f"encoder of a {role} field", encoder, ENCODERS[role])
    given.check_only(role, encoder, f"{role} with the encoder {encoder}")
    sources = [key for key in SOURCES if key in given and getattr(given, key) is not False]
    sources += [key for key in OF_LISTS if key in given and "history" in given]
    if len(sources) > 1:
        raise given.error(f"it has {sources[0]} too; expected one of them", sources[1])
    for word in (kind, encoder):
        if word in NEEDED and NEEDED[word] not in given:
            raise given.error(f"it is {word}: expected its {NEEDED[word]}, such as 1000")
    if role == "sequence" and not {"target", "history"} & given.model_fields_set:
        hint = "target: item, a history, or, of a companion, beside: viewed"
        raise given.error(f"it is a sequence: expected a target, such as {hint}")
    if given.value and role in LISTED and not given.value.column:
        raise given.error(f"it is a {role}: expected a column of lists", "value")
    if given.functions > 1 and given.pooling != "sum":
        told = "two rows a value are added; expected pooling: sum, or functions: 1"
        raise given.error(told, "pooling")
    if given.weights and given.pooling == "max":
        raise given.error("max pooling has no use for weights", "weights")
    options = dict(given) | {"name": name, "line": node.line, "kind": kind, "encoder": encoder}
    options["table"] = given.table or name
    if role == "sequence":
        usual = {"keep": "last", "pooling": "mean"}
        options |= {key: word for key, word in usual.items() if key not in given}
    if "history" in given:
        options |= history(node.at("history"), f"history of field {name!r}", group)
    column = options.pop("column")
    if column or not sources:
        options["value"] = of_column(column or name)
    if given.embedding == "piecewise_linear" and "bins" not in given:
        options["bins"] = BINS
    if "scored_as" in given:
        scored = node.at("scored_as")
        if kind == "numeric" and not scored.null and not NUMBER.fullmatch(scored.value):
            raise given.error(f"expected a number, got {scored.shown}", "scored_as")
        options["scored_as"] = (None if scored.null else scored.value,)
    return FieldSpec(**options)


def history(node: Node, what: str, group: str) -> dict[str, HistorySpec | str | int]:
    """The options of a field that has this history."""
    given = keys.HistoryKeys.read(node, what)
    by = given.by or group
    if not by:
        raise given.error("expected 'by', the column of users, as in by: user_id")
    made = HistorySpec(by=by, where=given.where)
    return {"history": made, "target": given.of, "max_values": given.last}


def task(name: str, node: Node) -> TaskSpec:
    """A task of the schema file."""
    given = keys.TaskKeys.read(node, f"task {name!r}")
    given.check_only(given.kind)
    options = dict(given) | {"name": name, "line": node.line}
    options["label"] = given.label or of_column(name)
    options["least"], options["most"] = options.pop("range")
    return TaskSpec(**options)


def split(node: Node | None, time: str, unit: str, group: str) -> SplitSpec:
    """How rows are split: by default by time or, without it, at random.

    Args:
      node: of the key `split`; None without.
      time, unit, group: the columns of times, in which unit, and of groups.
    """
    usual = "time" if time else "random"
    if node is None:
        return SplitSpec(by=usual)
    node = node.under("by")
    given = keys.SplitKeys.read(node, "split")
    by, drawn = given.by or usual, "validation" in given
    given.check_only(by)
    if by in ("time", "user_order") and not time:
        raise given.error(f"by {by} it needs the time column: time: t")
    if by in ("group", "user_order") and not group:
        raise given.error(f"by {by} it needs the column of the groups: group: user_id")
    options = dict(given) | {"by": by, "line": node.line}
    if by != "column":
        return SplitSpec(**options | cuts(node, given, by, unit))
    if not given.column:
        raise given.error("by column it needs a key 'column'")
    if "seed" in given and not drawn:
        raise given.error("nothing is drawn without validation", "seed")
    if "values" in given:
        check_values(given, drawn)
    elif drawn:
        options["values"] = {name: (name,) for name in SPLITS if name != "validation"}
    return SplitSpec(**options | cuts(node, given, by, unit))


def check_values(given: keys.SplitKeys, drawn: bool) -> None:
    """Each value is in one split; none is in validation where that is `drawn` from train."""
    seen: dict[str, str] = {}
    for name, texts in given.values.items():
        for text in texts:
            if text in seen:
                raise given.error(f"{text!r} is in {seen[text]} and in {name}", "values")
            seen[text] = name
    if drawn and "validation" in given.values:
        raise given.error("it is a share of train, and values name some too", "validation")
    for name in SPLITS:
        if not given.values.get(name) and not (drawn and name == "validation"):
            hint = "; `validation: 0.1` draws it from train" if name == "validation" else ""
            raise given.error(f"{name} has none{hint}", "values")


def cuts(node: Node, given: keys.SplitKeys, by: str, unit: str) -> dict[str, float | str]:
    """`validation` and `test`; times stay the texts that they are."""
    found: dict[str, float | str] = {"validation": given.validation, "test": given.test}
    starts: list[tuple[str, int]] = []  # how a time was read, and the time
    for name, value in found.items():
        number = isinstance(value, float)
        if number and (0 < value < 1 or (by == "user_order" and value >= 1 and value % 1 == 0)):
            continue
        if by != "time" or value == 0:
            raise node.at(name).expected(f"{name} of split", CUTS[by])
        form = unit or ("number" if number else "date")
        found[name] = node.at(name).value
        try:
            starts.append((form, times.read(found[name], form)))
        except UserError as error:
            raise given.error(str(error), name) from None
    forms, got = {form for form, _ in starts}, f"{found['validation']} and {found['test']}"
    if starts and (len(starts) == 1 or len(forms) > 1 or starts[0] >= starts[1]):
        told = "expected two times of one form, that of validation before that of test"
        raise given.error(f"{told}; got {got}")
    if by != "column" and sum(v for v in found.values() if isinstance(v, float) and v < 1) >= 1:
        raise given.error(f"validation and test are {got} of the rows: nothing is left to train")
    return found
