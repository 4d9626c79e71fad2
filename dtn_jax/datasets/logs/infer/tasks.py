"""Tasks: the labels that were asked for, or that names and values suggest; which lies in which."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.datasets.logs.infer import names
from dtn_jax.datasets.logs.infer.columns import FEW, Column
from dtn_jax.datasets.logs.infer.draft import FORMULA, TaskDraft, expression, percent, quoted, shown
from dtn_jax.datasets.logs.infer.fields import SMALL, is_skewed
from dtn_jax.datasets.logs.schema.spec import OUTSIDE
from dtn_jax.errors import UserError, listed
from dtn_jax.schema import ALL, MEAN, RESERVED
from dtn_jax.shapes import Bool

STRAY = 1e-3  # share of rows that may have another value than 0 and 1, or lie elsewhere
ROOM = 2.0  # a regression's range reaches so many times beyond the sample's, for rows not seen
LEAST = 20  # rows with a label, to say where it lies
CHANCE = 10.0  # of them, those that would be elsewhere if the labels had nothing to do with it


def tasks(
    columns: Mapping[str, Column], given: Sequence[str], taken: set[str], fields: set[str]
) -> list[TaskDraft]:
    """The tasks of a log.

    Args:
      columns: {name: column} of single values.
      given: --labels; empty: labels are guessed.
      taken: columns that are the time, the group or the split.
      fields: names that no task may have.

    Raises:
      UserError: a given label is none, or nothing can be guessed.
    """
    free = {name: c for name, c in columns.items() if name not in taken}
    chosen = list(dict.fromkeys(given)) or _guesses(free)
    if not chosen:
        raise UserError(_none_found(free, columns))
    found: list[TaskDraft] = []
    for name in chosen:
        problem = "the column is the time, the group or the split as well" * (name in taken)
        problem = problem or why_none(columns[name])
        if problem:
            raise UserError(f"--labels={name}: {problem}")
        others = (fields - {name}) | {task.name for task in found}
        found.append(_task(columns[name], _task_name(name, others), guessed=not given))
    return found


def _guesses(columns: Mapping[str, Column]) -> list[str]:
    """The columns that are labels by their names and values.

    Columns of 0 and 1 named click, order, like, label, …, and numbers named watch_seconds, rating,
    …; where there are none of the first, columns of 0 and 1 named is_….
    """
    free = [c for c in columns.values() if c.kind != "text" and not why_none(c)]
    binary = [c.name for c in free if is_binary(c) and c.distinct > 1]
    found = {name for name in binary if names.is_outcome(name)}
    found = found or {name for name in binary if names.is_yes_or_no(name)}
    found |= {c.name for c in free if c.distinct > 2 and names.is_value(c.name)}
    return [name for name in columns if name in found]


def is_binary(column: Column) -> bool:
    """Of 0 and 1, or false and true; beside both of 0 and 1, few rows may have other numbers."""
    if column.kind not in ("number", "truth") or not column.known:
        return False
    strays = _strays(column)
    few = column.counts[strays].sum() <= STRAY * column.known and (~strays).sum() == 2
    return bool(few or not strays.any())


def _strays(column: Column) -> Bool[np.ndarray, " V"]:
    """Which of a column's different values are neither 0 nor 1."""
    return ~np.isin(column.different.to_numpy(), [0, 1])


def _two_texts(column: Column) -> tuple[str, ...]:
    """The two texts of a column that has no others, the rarer one last; else ()."""
    if column.kind != "text" or column.distinct != 2 or not expression(column.name):
        return ()
    common, rare = column.common(2)
    return () if "'" in rare or len(rare) > 100 or not rare.isprintable() else (common, rare)


def why_none(column: Column) -> str:
    """Why a column is no label; '' where it is one."""
    if not column.known:
        return "its values are all missing"
    if _two_texts(column):
        return ""
    if column.kind not in ("number", "truth"):
        value = column.common(1)[0]
        told = f"it holds {column.values.dtype}, such as {shown(value)}; expected 0 and 1, "
        told += "false and true, or numbers"
        if column.kind == "text":
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
    task = TaskDraft(name, guessed=guessed, column=column.name)
    missing = f"; {percent(column.missing)} missing" if column.missing else ""
    label, binary = "" if name == column.name else read, is_binary(column)
    if texts := _two_texts(column) or (column.distinct == 2 and not binary and read):
        least, most = texts if column.kind == "text" else sorted(column.different)
        is_most = (column.different == most).to_numpy().astype(np.float64)
        task.values = np.append(is_most, np.nan)[column.codes]
        label = f"{read} == '{most}'" if column.kind == "text" else f"{read} == {most!r}"
        which = "latter" if column.kind == "text" else "larger"
        task.notes.append(f"its values are {shown(least)} and {shown(most)}: the {which} is 1")
    else:
        task.values = column.numbers
    if not texts and not binary:
        label = _regression(task, column, read) or label
        task.facts += missing
    elif column.values.dtype != column.raw.dtype and column.kind == "truth" and read:
        label = f"{read} == true"  # texts in any mixture of small and large letters
    elif column.kind == "number" and column.distinct > 2:
        strays = _strays(column)
        other = column.different[int(np.argmax(np.where(strays, column.counts, 0)))]
        task.values = np.where(np.isin(task.values, [0, 1]), task.values, np.nan)
        rate = column.counts[strays].sum() / column.known
        task.notes.append(
            f"{percent(float(rate))} of its values are neither 0 nor 1, such as {shown(other)}: "
            f"bad rows, unless you say what they mean, as in label: {read or column.name} >= 1"
        )
    if task.binary:
        known = max(int((~np.isnan(task.values)).sum()), 1)
        task.facts = f"{percent(task.positives / known)} positive{missing}"
        if task.positives in (0, known):
            task.notes.append("every label in the sample is the same: there is nothing to learn")
    if label:
        task.options["label"] = quoted(label, FORMULA)
    if column.missing:
        task.options["known"] = quoted(f"not missing({read})", FORMULA)
    return task


def _regression(task: TaskDraft, column: Column, read: str) -> str:
    """Makes it a regression; returns its label, where that is not the column itself.

    The range is the sample's own for a few whole numbers, such as ratings; else it leaves ROOM for
    rows that are not in the sample, since a label outside it makes a bad row.
    """
    low, high = column.values.min(), column.values.max()
    least, most = float(low), float(high)
    if not (column.is_whole and column.distinct <= SMALL):
        least = 0.0 if least >= 0 else -_rounded_up(-least * ROOM)
        most = _rounded_up(most * ROOM) if most > 0 else 0.0
    task.options |= {"kind": "regression", "range": [f"{least:g}", f"{most:g}"]}
    none = float((column.values == 0).mean())
    zeros = f", {percent(none)} are 0" if low == 0 and none > 0.05 else ""
    middle = shown(column.values.cast(float).median())
    task.facts = f"{shown(low)} to {shown(high)}, median {middle}{zeros}"
    if not is_skewed(column) or not read:
        return ""
    task.notes.append(
        f"skewed, so its logarithm is fitted; as it is: label: {read}, range: [{least:g}, {most:g}]"
    )
    task.options["range"] = ["0", str(math.ceil(math.log1p(most)))]
    return f"log1p({read})"


def _rounded_up(number: float) -> float:
    """To one digit: 4321 is 5000."""
    step = 10.0 ** math.floor(math.log10(number))
    return math.ceil(number / step) * step


def _task_name(column: str, taken: set[str]) -> str:
    """The column's name, but for signs that no task's name may have."""
    name = "".join("_" if sign in RESERVED else sign for sign in column)
    while name in taken or name in (ALL, MEAN):
        name += "_label"
    return name


def _none_found(columns: Mapping[str, Column], every: Mapping[str, Column]) -> str:
    binary = {name for name, c in columns.items() if is_binary(c) and c.distinct > 1}
    texts = {name for name, c in columns.items() if _two_texts(c)}
    numbers = {
        name for name, c in columns.items() if c.kind == "number" and c.distinct > 2
    } - binary
    told = "no column is a label by its name (click, order, like, label, …, of 0 and 1; "
    told += "watch_seconds, rating, …, of numbers). Say which are: --labels=NAME,NAME"
    kinds = {"0 and 1": binary, "two texts": texts, "other numbers": numbers}
    for kind, found in kinds.items():
        some = listed(quoted(name) for name in columns if name in found)
        told += f"\ncolumns of {kind}: {some}" if some else ""
    if not binary | texts | numbers:
        told += f"\nNone holds numbers; the columns are: {listed(map(quoted, every))}"
    return told


def arrange(tasks: Sequence[TaskDraft]) -> list[str]:
    """Writes `upstream` and `also_report` of each task: the nearest of the labels around it; and
    says which are around most of its rows only. Returns notes on labels that are the same."""
    overlaps = {t.name: {o.name: n for o in tasks if (n := _overlap(t, o))} for t in tasks}
    around = {
        name: [other for other, (count, outside) in found.items() if outside <= STRAY * count]
        for name, found in overlaps.items()
    }
    positives = {task.name: task.positives for task in tasks}
    for task in tasks:
        what, outer = "" if task.binary else " above 0", around[task.name]
        nearest = [name for name in outer if not any(name in around[other] for other in outer)]
        if nearest:
            listed = [quoted(name) for name in nearest]
            task.options |= {"upstream": listed, "also_report": listed}
            counts = " and ".join(f"{name} ({positives[name]:,})" for name in nearest)
            outside = sum(overlaps[task.name][name][1] for name in nearest)
            but = f" but for {outside:,}" if outside else ""
            task.notes.append(f"{task.positives:,} rows{what}, all{but} among those of {counts}")
        for other, (count, outside) in overlaps[task.name].items():
            if other not in outer:
                limit = f"; prepare allows {100 * OUTSIDE:g} %, or what positives_outside says"
                task.notes.append(
                    f"{outside:,} of {count:,} rows{what} ({percent(outside / count)}) are where "
                    f"{other} is 0, so it has no upstream: [{quoted(other)}] here"
                    f"{limit if task.binary else ''}"
                )
    return [
        f"the labels of {other.name} and {task.name} are the same in all rows"
        for n, task in enumerate(tasks)
        for other in tasks[:n]
        if np.array_equal(task.values, other.values, equal_nan=True)
    ]


def _overlap(inner: TaskDraft, outer: TaskDraft) -> tuple[int, int] | None:
    """Rows where a label happens (a regression where it is above 0), and those of them where
    `outer` is 0; None where these are not much fewer than by chance, or there are too few."""
    if inner is outer or not outer.binary:
        return None
    if not inner.binary and (np.nanmin(inner.values) < 0 or (inner.values != 0).all()):
        return None
    known = ~np.isnan(inner.values) & ~np.isnan(outer.values)
    happens, around = inner.values[known] > 0, outer.values[known] == 1
    count, outside = int(happens.sum()), int((happens & ~around).sum())
    if count < LEAST or (inner.binary and count >= around.sum()):
        return None
    by_chance = count * float(1 - around.mean())
    return (count, outside) if CHANCE <= by_chance >= 2 * outside <= count else None
