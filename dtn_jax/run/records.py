"""metrics.jsonl: a record a line, and what the lines say of a whole run."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

import numpy as np

from dtn_jax.errors import UserError

NAME = "metrics.jsonl"


def read(folder: pathlib.Path) -> list[dict]:
    """The records of the run in a folder, {"kind": text, "step": …, "epoch": …, NAME: a number or
    None} each; none where there is no log. A last line that a crash cut short is left out.

    Raises:
      UserError: names a line that is no record.
    """
    path = folder / NAME
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
            _ = [records[-1][key] for key in ("kind", "step", "epoch")]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path}, line {number}: no record can be read; delete the line, which only the "
                "curves then lack"
            ) from None
    return records


def median_rate(history: list[dict]) -> float | None:
    """Examples per second in training: the median over logged spans, None if none was timed."""
    rates = [r.get("examples_per_second") for r in history if r["kind"] == "train"]
    rates = [rate for rate in rates if rate is not None]
    return float(np.median(rates)) if rates else None


def flat(results: Mapping[str, Mapping[str, float | int | None]]) -> dict:
    """{task@space: {metric: value}} as a record has it, 'task@space/metric': value."""
    return {
        f"{key}/{name}": value
        for key, metrics in results.items()
        for name, value in metrics.items()
    }
