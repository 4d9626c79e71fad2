"""What was found, as files: importance.json, importance.csv, and how they get into place."""

from __future__ import annotations

import csv
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dtn_jax.analysis.importance import Z

DIGITS = 6


def plain(value):
    """JSON's own types: arrays as lists, numbers to DIGITS digits, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def swap(made: pathlib.Path, folder: pathlib.Path, names: Iterable[str]) -> None:
    """Moves all files that were made into a folder of the same file system.

    Of `names`, those that were not made are another call's, and go; other files of the folder stay.
    """
    folder.mkdir(exist_ok=True)
    stale = set(names) - {path.name for path in made.iterdir()}
    for path in list(made.iterdir()):
        path.replace(folder / path.name)
    for name in stale:
        (folder / name).unlink(missing_ok=True)


def write_json(found: Mapping, path: pathlib.Path) -> None:
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def write_csv(found: Mapping, path: pathlib.Path) -> None:
    """A row for each method, task@space and field: the mean, its 95 % interval, and the truth."""
    truth = found["truth"].get("importance", {})
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["method", "key", "field", "importance", "low", "high", "truth"])
        for method, facts in found["methods"].items():
            for key, by_field in facts["importance"].items():
                for field, one in by_field.items():
                    low, high = (one["mean"] + side * Z * one["error"] for side in (-1, 1))
                    known = truth[key][field]["mean"] if key in truth else ""
                    numbers = (one["mean"], *(f"{end:.{DIGITS}g}" for end in (low, high)))
                    table.writerow([method, key, field, *numbers, known])
