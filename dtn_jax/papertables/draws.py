"""A run's AUCs under the draws of the test examples, as its cell keeps them.

What is kept of a draw is how far its AUC lies from that of all examples, in whole steps of a power
of two, 32 to 64 of which make the root mean square of a cell's draws. Rounding is a hundredth of
what drawing 2000 times leaves open: intervals move by some 0.2 % of their width, p-values by 1 %.
The steps are text, a letter each, so that a cell is JSON and compresses to less than a byte a draw.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

import numpy as np

from dtn_jax.shapes import Float, Int

FINENESS = 32  # steps, at least, in the root mean square of a cell's draws
ZERO = ord("!")  # 0, -1, 1, -2, … are the letters from here on
NOTHING = " "  # of a draw that lacks a class
MOST = 27_000  # letters beyond would be among the surrogates, which UTF-8 does not have


def packed(draws: Float[np.ndarray, " R"], center: float | None) -> dict:
    """The draws as {step, steps}; `center` is the AUC of all examples, None where it has none."""
    away = draws - (center or 0.0)
    known = away[np.isfinite(away)]
    scale = float(np.sqrt(np.mean(known**2))) if known.size else 0.0
    step = 2.0 ** np.floor(np.log2(scale / FINENESS)) if scale else 1.0
    return {"step": step, "steps": letters(np.rint(away / step))}


def unpacked(cell: Mapping, key: str) -> Float[np.ndarray, " R"]:
    """A cell's AUC under each draw of the test examples; NaN where a draw lacks a class."""
    kept = cell["draws"][key]
    away = numbers(kept["steps"]) * kept["step"]
    return away + (cell["results"]["test"][key]["auc"] or 0.0)


def of_float16(text: str) -> dict:
    """Draws as cells had them before: their distances in float16, base64."""
    return packed(np.frombuffer(base64.b64decode(text), "<f2").astype(np.float64), None)


def less(kept: Mapping, before: Mapping | None) -> dict:
    """The draws less those of another run, which the same examples move alike: {step, less}.

    They stay as they are where the other's differ in step or in number, or there is none.
    """
    if not before or before["step"] != kept["step"] or len(before["steps"]) != len(kept["steps"]):
        return dict(kept)
    away = numbers(kept["steps"]) - np.nan_to_num(numbers(before["steps"]))
    if np.nanmax(np.abs(away), initial=0) > MOST:
        return dict(kept)
    return {"step": kept["step"], "less": letters(away)}


def plus(found: Mapping, before: Mapping | None) -> dict:
    """The draws that `less` took these from."""
    if "less" not in found:
        return dict(found)
    whole = numbers(found["less"]) + np.nan_to_num(numbers(before["steps"]))
    return {"step": found["step"], "steps": letters(whole)}


def letters(steps: Float[np.ndarray, " R"]) -> str:
    known = np.nan_to_num(steps).astype(np.int64)
    folded = np.where(known < 0, -2 * known - 1, 2 * known) + ZERO
    folded[~np.isfinite(steps)] = ord(NOTHING)
    return folded.astype("<u4").tobytes().decode("utf-32-le")


def numbers(text: str) -> Float[np.ndarray, " R"]:
    folded: Int[np.ndarray, " R"] = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int64)
    folded = folded - ZERO
    steps = np.where(folded % 2, -(folded + 1) // 2, folded // 2).astype(np.float64)
    steps[folded == ord(NOTHING) - ZERO] = np.nan
    return steps


def own_spaces(keys: Iterable[str]) -> list[str]:
    """The first task@space of each task: that of its loss, in which alone it is tested."""
    return list({key.partition("@")[0]: key for key in reversed(list(keys))}.values())[::-1]
