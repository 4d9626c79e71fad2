"""What was found, as files in the run's folder: importance.json, .csv, .md, and the pictures."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.analysis.importance import Z
from dtn_jax.analysis.sections import PICTURES, sections
from dtn_jax.report.sections import markdown

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


def write(found: Mapping, made: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes what was found beside its pictures, and puts all into place.

    Args:
      found: of plain types.
      made: a new folder in the same file system, which holds the pictures; it is emptied.
      folder: the place. Pictures there that were not made again are another call's, and go; other
        files stay.
    """
    (made / "importance.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    importance_table(found).write_csv(made / "importance.csv")
    pictures = {p.stem: p.name for p in made.glob("*.png")}
    text = f"# Importance by task: {found['run']}\n\n{markdown(sections([found], pictures))}"
    (made / "importance.md").write_text(text)
    folder.mkdir(exist_ok=True)
    for name in PICTURES:
        if name not in pictures:
            (folder / f"{name}.png").unlink(missing_ok=True)
    for path in list(made.iterdir()):
        path.replace(folder / path.name)


def importance_table(found: Mapping) -> pl.DataFrame:
    """A row for each method, task@space and field: the mean, its 95 % interval, and the truth."""
    truth = found["truth"].get("importance", {})
    return pl.DataFrame(
        {
            "method": method,
            "key": key,
            "field": field,
            "importance": one["mean"],
            "low": plain(one["mean"] - Z * one["error"]),
            "high": plain(one["mean"] + Z * one["error"]),
            "truth": truth[key][field]["mean"] if key in truth else None,
        }
        for method, facts in found["methods"].items()
        for key, by_field in facts["importance"].items()
        for field, one in by_field.items()
    )
