"""Intervals of rates."""

from __future__ import annotations

import numpy as np


def wilson(rate: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a rate seen in `count` examples; z = 1.96 covers 95 %.

    E. B. Wilson, Probable inference, J. Am. Stat. Assoc. 22 (1927):
    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    middle = rate + z**2 / (2 * count)
    half = z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return np.maximum((middle - half) / scale, 0), np.minimum((middle + half) / scale, 1)
