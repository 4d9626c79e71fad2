"""How old a model's program is: StableHLO is read for six months by later versions of JAX."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Mapping

import jax

GUARANTEED = 180  # days in which a later JAX reads a program
EARLY = 30  # days before that, in which it is told
ANEW = "Make it anew from the folder alone: dtn-jax export --again MODEL"


def days(manifest: Mapping) -> float | None:
    """Days since the program was made; None where the manifest does not say."""
    try:
        made = datetime.datetime.fromisoformat(manifest["program"]["made"])
        return (datetime.datetime.now(datetime.UTC) - made).total_seconds() / 86400
    except (KeyError, TypeError, ValueError):
        return None


def told(manifest: Mapping) -> str:
    """When, and with which JAX, the program was made, and which JAX is here."""
    try:
        by = str(manifest["program"]["jax"])
    except (KeyError, TypeError):
        by = "of an unknown version"
    age = days(manifest)
    when = "at an unknown time" if age is None else f"{age:.0f} days ago"
    return f"The program was made {when} by JAX {by}; this is JAX {jax.__version__}"


def warn(manifest: Mapping) -> None:
    """Warns in time that the program will not be read by later versions of JAX."""
    age = days(manifest)
    if age is not None and age > GUARANTEED - EARLY:
        warnings.warn(
            f"{told(manifest)}. JAX reads programs for {GUARANTEED} days, and may refuse older "
            f"ones. {ANEW}",
            stacklevel=3,
        )
