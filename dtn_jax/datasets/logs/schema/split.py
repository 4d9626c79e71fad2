"""How a schema file says which rows train, pick and are reported."""

from __future__ import annotations

from typing import Any

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.schema import forms, keys
from dtn_jax.datasets.logs.schema.forms import Key, chosen
from dtn_jax.datasets.logs.schema.parts import having, options
from dtn_jax.datasets.logs.schema.spec import SplitSpec
from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.errors import UserError

NAMES = ("train", "validation", "test")
SHARE = "a share of the rows, above 0 and below 1"
SHARE_OF_TRAIN = "a share of train, above 0 and below 1"
EXPECTED = {
    "time": f"{SHARE}, or a time such as 2026-03-05",
    "user_order": f"{SHARE}, or a number of rows, from 1 on",
    "group": SHARE,
    "random": SHARE,
}


def split(node: Node | None, time: str, unit: str, group: str) -> SplitSpec:
    """Reads `split`; without it, rows are split by time, or at random where there is none."""
    if node is None:
        return SplitSpec(by="time" if time else "random")
    if isinstance(node.value, str):
        node = Node({"by": node}, node.path, node.line, keys={"by": node.line})
    given = options(node, keys.SPLIT, "split")
    by = given.setdefault("by", "time" if time else "random")
    having(node, given, keys.SPLIT, "the split", by)
    if by in ("time", "user_order") and not time:
        raise node.error(f"split by {by} needs the time column: time: t")
    if by in ("group", "user_order") and not group:
        raise node.error(f"split by {by} needs the column of the groups: group: user_id")
    if by == "column":
        if "column" not in given:
            raise node.error("split by column: expected a key 'column'")
        drawn = "validation" in given  # from train
        if drawn and not (isinstance(given["validation"], float) and 0 < given["validation"] < 1):
            raise node.value["validation"].expected("validation of split", SHARE_OF_TRAIN)
        if "seed" in given and not drawn:
            raise node.value["seed"].error("seed of split: nothing is drawn without validation")
        if "values" in given:
            given["values"] = values(given["values"], drawn)
        elif drawn:
            given["values"] = {name: (name,) for name in NAMES if name != "validation"}
    else:
        parts(node, given, by, unit)
    return SplitSpec(line=node.line, **given)


def values(node: Node, drawn: bool) -> dict[str, tuple[str, ...]]:
    """{split: its values}, each value in one split; none of validation where that is `drawn`."""
    if not isinstance(node.value, dict):
        raise node.expected("values of split", "{train: …, validation: …, test: …}")
    found, seen = {}, {}
    for name, inner in node.value.items():
        chosen(Node("", node.path, node.keys[name]), "split", name, NAMES)
        found[name] = forms.texts(inner, Key("texts", ""), f"values of {name}")
        for value in found[name]:
            if value in seen:
                raise inner.error(f"the value {value!r} is in {seen[value]} and in {name}")
            seen[value] = name
    if drawn and "validation" in found:
        raise Node("", node.path, node.keys["validation"]).error(
            "validation of split is a share of train, and values name some too: expected one of "
            "them"
        )
    missing = [n for n in NAMES if not found.get(n) and not (drawn and n == "validation")]
    if missing:
        hint = "; `validation: 0.1` draws it from train" if missing[0] == "validation" else ""
        raise node.error(f"values of split: {missing[0]} has none{hint}")
    return found


def parts(node: Node, given: dict[str, Any], by: str, unit: str) -> None:
    """Checks `validation` and `test`; times stay the texts that they are."""
    starts: dict[str, int] = {}
    forms: dict[str, str] = {}  # how they were read
    for name in ("validation", "test"):
        if name not in given:
            continue
        value, place = given[name], node.value[name]
        if isinstance(value, float) and 0 < value < 1:
            continue
        if by == "user_order" and isinstance(value, float) and value >= 1 and value == value // 1:
            continue
        if by != "time" or value == 0:
            raise place.expected(f"{name} of split", EXPECTED[by])
        given[name] = place.value
        number = isinstance(value, float) and not unit
        forms[name] = "number" if number else unit or "date"
        try:
            starts[name] = times.read(place.value, forms[name])
        except UserError as error:
            raise place.error(f"{name} of split: {error}") from None
    if len(starts) == 1:
        (name,) = starts
        other = "test" if name == "validation" else "validation"
        raise node.error(f"{name} of split is a time: expected a time for {other} too")
    if len(set(forms.values())) > 1:
        number = next(name for name, form in forms.items() if form == "number")
        other = "test" if number == "validation" else "validation"
        raise node.error(f"split: {number} starts at a number and {other} at a date")
    if len(starts) == 2 and starts["validation"] >= starts["test"]:
        raise node.error(
            f"validation of split starts at {given['validation']}, expected a time before test, "
            f"{given['test']}"
        )
    shares = [given.get(name, 0.1) for name in ("validation", "test")]
    total = sum(share for share in shares if isinstance(share, float) and share < 1)
    if total >= 1:
        raise node.error(
            f"validation and test of split are {total:g} of the rows together: nothing is left "
            "to train"
        )
