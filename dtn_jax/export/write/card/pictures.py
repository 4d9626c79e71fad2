"""The picture of a card: predicted against observed rates, before and after calibration."""

from __future__ import annotations

import pathlib

from dtn_jax.export.write.card.measured import Measured
from dtn_jax.report import plots


def calibration(measured: Measured, path: pathlib.Path) -> None:
    """Reliability diagrams of test: where a task is calibrated, before and after."""
    curves = {}
    for task, curve in measured.curves["before"].items():
        if measured.choices[task].calibration["method"] == "none":
            curves[f"{task}, not calibrated"] = curve
        else:
            method = measured.choices[task].calibration["method"]
            curves[f"{task}, before"] = curve
            curves[f"{task}, after ({method})"] = measured.curves["after"][task]
    plots.reliability(curves, path)
