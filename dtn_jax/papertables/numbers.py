"""Numbers as a table prints them: means with spreads, differences, signs, sizes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from dtn_jax.papertables.content import comparisons
from dtn_jax.papertables.seeds import within

LEVEL = 0.05  # of significance
ALIKE = "≈"  # before a difference that is smaller than twice the seeds' standard deviation
FINE = 5e-5  # a spread that 4 digits would hide


def fine(rows: Sequence[Mapping], key: str, metric: str = "auc") -> bool:
    """Whether 4 digits would hide how the values of most rows scatter."""
    values = [[v for v in r["metrics"][key].get(metric, ()) if v is not None] for r in rows]
    deviations = [statistics.stdev(v) for v in values if len(v) > 1]
    return bool(deviations) and statistics.median(deviations) < FINE


def spread(values: Sequence[float], digits: int = 4) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    deviation = statistics.stdev(values)
    hidden = 0.05 * 10**-digits < deviation < 0.5 * 10**-digits
    return f"{mean} ± {deviation:.{digits + hidden}f}"


def mark(row: Mapping, key: str) -> str:
    """↓ and ↑: significantly below and above what the row is tested against."""
    found = comparisons(row).get(key)
    if not found or found["p_holm"] >= LEVEL:
        return ""
    return " ↑" if found["difference"] > 0 else " ↓"


def marks(row: Mapping, key: str) -> str:
    """That mark, and ≈ where the difference is smaller than twice the seeds' deviation."""
    found = comparisons(row).get(key)
    return mark(row, key) + (f" {ALIKE}" if found and within(found) else "")


def difference(found: Mapping | str | None) -> str:
    if not isinstance(found, Mapping):
        return found or ""
    p = p_value(found["p_holm"], found["p"] <= found["least"])
    return f"{thousandths(found)} {interval(found)}, p {p}"


def thousandths(found: Mapping) -> str:
    """The difference × 1000, after ≈ where it is smaller than twice the seeds' deviation."""
    sign = f"{ALIKE} " if within(found) else ""
    return f"{sign}{1000 * found['difference']:+.2f}".replace("-", "−")


def interval(found: Mapping) -> str:
    return f"[{1000 * found['low']:+.2f}, {1000 * found['high']:+.2f}]".replace("-", "−")


def p_value(p: float, least: bool = False) -> str:
    """'= 0.046'; `least`: the draws can tell no lower one."""
    return "< 0.001" if p < 0.001 else f"{'≤' if least else '='} {p:.3f}"


def seconds(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return ""
    median = statistics.median(known)
    return f"{median:.0f}" if median >= 9.95 else f"{median:.1f}"


def short(number: int) -> str:
    """1234567 as '1.23 M'."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return str(number)


def entropy(rate: float) -> float:
    """The log loss of a constant score on examples with this share of positives, at best."""
    return sum(-p * math.log(p) for p in (rate, 1 - rate) if 0 < p < 1)
