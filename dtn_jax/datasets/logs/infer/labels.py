"""Tasks: the labels that were asked for, or that names and values suggest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.datasets.logs.infer import names
from dtn_jax.datasets.logs.infer.columns import Column
from dtn_jax.datasets.logs.infer.draft import TaskDraft
from dtn_jax.datasets.logs.infer.kinds import SMALL, is_skewed
from dtn_jax.datasets.logs.infer.sample import FEW
from dtn_jax.datasets.logs.infer.words import expression, formula, percent, quoted, shown
from dtn_jax.errors import UserError, choose, listed
from dtn_jax.schema import ALL, MEAN, RESERVED
from dtn_jax.shapes import Bool

STRAY = 1e-3  # share of rows that may have another value than 0 and 1: prepare rejects so many
ROOM = 2.0  # a regression's range reaches so many times beyond the sample's, for rows not seen


def tasks(
    columns: Mapping[str, Column], given: Sequence[str], taken: set[str], fields: set[str]
) -> list[TaskDraft]:
    """The tasks of a log.

    Args:
      columns: {name: column} of single values.
      given: --labels; empty: labels are guessed.
      taken: columns that are the time or the group.
      fields: names that no task may have.

    Raises:
      UserError: a given label is not there or is none, or nothing can be guessed.
    """
    chosen = list(dict.fromkeys(given)) or guesses(columns, taken)
    if not chosen:
        raise UserError(_none_found(columns, taken))
    found: list[TaskDraft] = []
    for name in chosen:
        column = columns[choose("column in --labels", name, columns)]
        if name in taken:
            raise UserError(f"--labels={name}: the column is the time or the group as well")
        problem = why_none(column)
        if problem:
            raise UserError(f"--labels={name}: {problem}")
        others = (fields - {name}) | {task.name for task in found}
        found.append(_task(column, _task_name(name, others), guessed=not given))
    return found


def guesses(columns: Mapping[str, Column], taken: set[str]) -> list[str]:
    """The columns that are labels by their names and values.

    Columns of 0 and 1 named click, order, like, label, …, and numbers named watch_seconds, rating,
    …; where there are none of the first, columns of 0 and 1 named is_….
    """
    free = [c for name, c in columns.items() if name not in taken and not why_none(c)]
    free = [c for c in free if not c.is_text]
    binary = [c.name for c in free if is_binary(c) and c.distinct > 1]
    found = {name for name in binary if names.is_outcome(name)}
    found = found or {name for name in binary if names.is_yes_or_no(name)}
    found |= {c.name for c in free if c.distinct > 2 and names.is_value(c.name)}
    return [name for name in columns if name in found]


def is_binary(column: Column) -> bool:
    """Of 0 and 1, or false and true; beside both of 0 and 1, few rows may have other numbers."""
    if column.is_truth:
        return column.known > 0
    if not column.is_number or not column.known:
        return False
    strays = _strays(column)
    few = column.counts[strays].sum() <= STRAY * column.known and (~strays).sum() == 2
    return bool(few or not strays.any())


def _strays(column: Column) -> Bool[np.ndarray, " V"]:
    """Which of a column's different values are neither 0 nor 1."""
    return ~np.isin(column.different.to_numpy(), [0, 1])


def two_texts(column: Column) -> tuple[str, ...]:
    """The two texts of a column that has no others, the rarer one last; else ()."""
    if not column.is_text or column.distinct != 2 or not expression(column.name):
        return ()
    common, rare = column.common(2)
    return () if "'" in rare or len(rare) > 100 or not rare.isprintable() else (common, rare)


def why_none(column: Column) -> str:
    """Why a column is no label; '' where it is one."""
    if not column.known:
        return "its values are all missing"
    if two_texts(column):
        return ""
    if not column.is_number and not column.is_truth:
        value = column.common(1)[0]
        told = f"it holds {column.values.dtype}, such as {shown(value)}; expected 0 and 1, "
        told += "false and true, or numbers"
        if column.is_text:
            told += (
                ". In a schema file a label may be an expression: write one with other labels, and "
                f"add a task such as {{label: {expression(column.name)} == '{value}'}}"
            )
        return told
    if column.infinite > FEW:
        return f"{percent(column.infinite)} of its values are infinite, and rows would be rejected"
    if column.distinct == 1 and not is_binary(column):
        return f"it is always {shown(column.different[0])}"
    if column.missing and not expression(column.name):
        return "some values are missing, and no expression can read a name with a backquote"
    return ""


def _task(column: Column, name: str, guessed: bool) -> TaskDraft:
    read = expression(column.name)
    label = "" if name == column.name else read
    texts = two_texts(column)
    if texts:
        numbers = np.array([text == texts[1] for text in column.different], np.float64)
        values = np.append(numbers, np.nan)[column.codes]
    else:
        values = column.numbers
    made = TaskDraft(name, column.name, values, guessed=guessed)
    missing = f"; {percent(column.missing)} missing" if column.missing else ""
    if texts:
        label = f"{read} == '{texts[1]}'"
        made.notes.append(
            f"its values are {shown(texts[0])} and {shown(texts[1])}: the latter is 1"
        )
    elif column.distinct == 2 and not is_binary(column) and read:
        least, most = sorted(column.different.to_list())
        label = f"{read} == {most!r}"
        made.values = np.where(np.isnan(values), np.nan, values == most)
        made.notes.append(f"its values are {shown(least)} and {shown(most)}: the larger is 1")
    elif not is_binary(column):
        made.options |= _regression(column)
        low, high = column.values.min(), column.values.max()
        middle = shown(column.values.cast(float).median())
        none = float((column.values == 0).mean())
        zeros = f", {percent(none)} are 0" if low == 0 and none > 0.05 else ""
        made.facts = f"{shown(low)} to {shown(high)}, median {middle}{zeros}{missing}"
        if is_skewed(column) and read:
            least, most = made.options["range"]
            made.notes.append(
                f"skewed, so its logarithm is fitted; as it is: label: {read}, "
                f"range: [{least}, {most}]"
            )
            label = f"log1p({read})"
            made.options["range"] = ["0", str(math.ceil(math.log1p(float(most))))]
    elif column.values.dtype != column.raw.dtype and column.is_truth and read:
        label = f"{read} == true"  # texts in any mixture of small and large letters
    elif column.is_number and column.distinct > 2:
        strays = _strays(column)
        other = column.different[int(np.argmax(np.where(strays, column.counts, 0)))]
        made.values = np.where(np.isin(values, [0, 1]), values, np.nan)
        rate = column.counts[strays].sum() / column.known
        made.notes.append(
            f"{percent(float(rate))} of its values are neither 0 nor 1, such as {shown(other)}: "
            f"bad rows, unless you say what they mean, as in label: {read or column.name} >= 1"
        )
    if made.binary:
        known = max(int((~np.isnan(made.values)).sum()), 1)
        made.facts = f"{percent(made.positives / known)} positive{missing}"
        if made.positives in (0, known):
            made.notes.append("every label in the sample is the same: there is nothing to learn")
    if label:
        made.options["label"] = formula(label)
    if column.missing:
        made.options["known"] = formula(f"not missing({read})")
    return made


def _regression(column: Column) -> dict:
    """The range is the sample's own for a few whole numbers, such as ratings; else it leaves ROOM
    for rows that are not in the sample, since a label outside it makes a bad row."""
    least, most = float(column.values.min()), float(column.values.max())
    if not (column.is_whole and column.distinct <= SMALL):
        least = 0.0 if least >= 0 else -_rounded_up(-least * ROOM)
        most = _rounded_up(most * ROOM) if most > 0 else 0.0
    return {"kind": "regression", "range": [f"{least:g}", f"{most:g}"]}


def _rounded_up(number: float) -> float:
    """To one digit: 4321 is 5000."""
    step = 10.0 ** math.floor(math.log10(number))
    return math.ceil(number / step) * step


def _task_name(column: str, taken: set[str]) -> str:
    """The column's name, but for signs that no task's name may have."""
    name = "".join("_" if sign in RESERVED else sign for sign in column)
    name = f"{name}_label" if name in (ALL, MEAN) else name
    while name in taken:
        name += "_label"
    return name


def _none_found(columns: Mapping[str, Column], taken: set[str]) -> str:
    binary = [n for n, c in columns.items() if n not in taken and is_binary(c) and c.distinct > 1]
    numbers = [n for n, c in columns.items() if n not in taken and c.is_number and c.distinct > 2]
    numbers = [name for name in numbers if name not in binary]
    told = "no column is a label by its name (click, order, like, label, …, of 0 and 1; "
    told += "watch_seconds, rating, …, of numbers). Say which are: --labels=NAME,NAME"
    texts = [n for n, c in columns.items() if n not in taken and two_texts(c)]
    for what, found in (("0 and 1", binary), ("two texts", texts), ("other numbers", numbers)):
        if found:
            more = ", …" if len(found) > 30 else ""
            told += f"\ncolumns of {what}: {quoted_list(found[:30])}{more}"
    if not binary and not numbers and not texts:
        told += f"\nNone holds numbers; the columns are: {listed(map(quoted, columns))}"
    return told


def quoted_list(found: Sequence[str]) -> str:
    return ", ".join(map(quoted, found))
