"""The picture of a card: predicted against observed rates, before and after calibration."""

from __future__ import annotations

import pathlib

from dtn_jax.export.write.card.measured import Measured
from dtn_jax.report import plots
from dtn_jax.report.markdown import one_line


def calibration(measured: Measured, path: pathlib.Path) -> None:
    """Reliability diagrams of test: where a task is calibrated, before and after."""
    methods = {task: choice.calibration["method"] for task, choice in measured.choices.items()}
    curves = {}
    for task, curve in measured.curves["before"].items():
        name = one_line(task)
        if methods[task] == "none":
            curves[f"{name}, not calibrated"] = curve
        else:
            curves[f"{name}, before"] = curve
            curves[f"{name}, after ({methods[task]})"] = measured.curves["after"][task]
    some = any(method != "none" for method in methods.values())
    plots.reliability(curves, path, columns=2 if some else 3)
