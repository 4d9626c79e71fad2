"""Where axes of days have their ticks."""

from __future__ import annotations

from matplotlib.dates import HOURLY, MINUTELY, AutoDateLocator


def day_ticks(least: int, most: int) -> AutoDateLocator:
    """So many ticks at whole days, months or years, however few days there are."""
    locator = AutoDateLocator(minticks=least, maxticks=most)
    locator.intervald[HOURLY] = locator.intervald[MINUTELY] = [24]  # whole days
    return locator
