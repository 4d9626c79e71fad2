"""Shares as the columns of a card show them."""

from __future__ import annotations

import math
from collections.abc import Iterable


def percents(shares: Iterable[float], largest: float) -> list[str]:
    """Shares as per cents of equal decimals: two, and more where the largest is below 1 %."""
    decimals = 2 - min(math.floor(math.log10(100 * largest)), 0) if largest > 0 else 2
    least = 0.5 * 10 ** -(decimals + 2)

    def told(share: float) -> str:
        sign, shown = ("< ", 10**-decimals) if 0 < share < least else ("", 100 * share)
        return f"{sign}{shown:.{decimals}f} %"

    return [told(float(share)) for share in shares]
