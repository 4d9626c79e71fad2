"""The picture of a card: predicted against observed rates, before and after calibration."""

from __future__ import annotations

import pathlib

import numpy as np

from dtn_jax.export.write.card.measured import Measured
from dtn_jax.metrics.calibration import CalibrationCurve
from dtn_jax.report import plots
from dtn_jax.report.markdown import one_line
from dtn_jax.schema import Schema


def calibration(measured: Measured, schema: Schema, path: pathlib.Path) -> None:
    """Reliability diagrams of test, of each output: before and after, where calibration changes it.

    An output is changed where its probabilities are, also by what it is derived from.
    """
    methods = {
        f"{task.name}@{task.space}": measured.choices[task.name].calibration["method"]
        for task in schema.tasks
    }
    curves, some = {}, False
    for key, before in measured.curves["before"].items():
        after, name = measured.curves["after"][key], one_line(key)
        if same(before, after):
            curves[f"{name}, not calibrated"] = before
            continue
        method = methods.get(key, "none")  # a derived output has none of its own
        own = "" if method == "none" else f" ({method})"
        curves[f"{name}, before"], curves[f"{name}, after{own}"], some = before, after, True
    plots.reliability(curves, path, columns=2 if some else 3)


def same(before: CalibrationCurve | None, after: CalibrationCurve | None) -> bool:
    """Whether two curves are of the same predictions, but for rounding."""
    if before is None or after is None:
        return before is after
    a, b = before.prediction, after.prediction
    return len(a) == len(b) and bool(np.allclose(a, b, rtol=1e-5, atol=0))
