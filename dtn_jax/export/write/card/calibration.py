"""What a card says of calibration: what each task got and why, and what that does to outputs."""

from __future__ import annotations

from collections.abc import Iterator

from dtn_jax.export.write.card import reranked
from dtn_jax.export.write.card.measured import Measured
from dtn_jax.export.write.card.scores import NAMES
from dtn_jax.export.write.card.shares import percents
from dtn_jax.metrics.calibration import CalibrationCurve
from dtn_jax.metrics.rates import wilson
from dtn_jax.report.markdown import escaped, table
from dtn_jax.schema import Schema

FOLLOWS = "by those of its tasks"  # in a space that is not that of the loss
COMPARED = ("logloss", "ece", "predicted_observed", "auc", "gauc")


def calibration(measured: Measured, schema: Schema) -> Iterator[str]:
    """How each task is calibrated, and what that does on validation and test."""
    for split in ("test", "validation"):
        if rows := list(_rows(measured, schema, split)):
            shown = [n for i, n in enumerate(COMPARED) if any(row[2 + i] for row in rows)]
            kept = [0, 1, *(2 + COMPARED.index(name) for name in shown)]
            header = ("task@space", "calibration", *(NAMES[name] for name in shown))
            yield table(header, [[row[i] for i in kept] for row in rows], left=2)
            yield f"On {split}, before → after."
    if worse := list(_worse(measured)):
        told = f"Log loss on test is worse with calibration for {', '.join(worse)}."
        yield f"{told} Test chooses nothing, so the calibration stays."
    for line in reranked.told(measured, schema, "test"):
        yield escaped(line)
    yield "It was fitted and chosen on validation alone:"
    given = {key.partition("@")[0] for key in measured.calibrated["test"]}
    yield "\n".join(
        f"- {escaped(task)}{'' if task in given else ' (computed, not given)'}: "
        f"{escaped(choice.reason)}"
        for task, choice in measured.choices.items()
    )
    if measured.deciles:
        yield "![Calibration on test, before and after](card/calibration.png)"
    for key, curve in measured.deciles.items():
        if curve is not None:
            yield f"{escaped(key)} on test, in ten parts by prediction, calibrated:"
            yield ten_parts(curve)


def _rows(measured: Measured, schema: Schema, split: str) -> Iterator[tuple[str, ...]]:
    """A row for each output of a binary task: before → after of each metric; '' of one it lacks."""
    for task in schema.tasks:
        method = measured.choices[task.name].calibration["method"]
        for space in task.spaces if task.kind == "binary" else ():
            key = f"{task.name}@{space}"
            if key not in measured.calibrated[split]:
                continue
            found = [each[split][key] for each in (measured.uncalibrated, measured.calibrated)]
            before, after = found
            cells = (_pair(before[n], after[n]) if n in before else "" for n in COMPARED)
            yield key, method if space == task.space else FOLLOWS, *cells


def _worse(measured: Measured) -> Iterator[str]:
    """The outputs whose log loss on test rises."""
    for key, found in measured.calibrated["test"].items():
        before, after = measured.uncalibrated["test"][key].get("logloss"), found.get("logloss")
        if rises(before, after):
            yield f"{escaped(key)} ({_pair(before, after)})"


def rises(before: float | None, after: float | None) -> bool:
    """Whether a metric rises, in the digits that a card shows."""
    return None not in (before, after) and round(after, 4) > round(before, 4)


def _pair(before: float | None, after: float | None) -> str:
    shown = ("n/d" if v is None else f"{v:.4f}" for v in (before, after))
    return " → ".join(shown)


def ten_parts(curve: CalibrationCurve) -> str:
    """A table of the bins of a curve, all its shares with the same decimals."""
    low, high = wilson(curve.rate, curve.effective)
    columns = (curve.prediction, curve.rate, low, high)
    largest = max(float(column.max()) for column in columns)
    told = [percents(column, largest) for column in columns]
    lines = [
        (f"{i + 1}", f"{n:,}", p, r, f"{a} to {b}")
        for i, (n, p, r, a, b) in enumerate(zip(curve.count, *told))
    ]
    return table(("part", "rows", "predicted", "observed", "95 % interval"), lines)
