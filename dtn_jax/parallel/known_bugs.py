"""Bugs of JAX's releases that a run should not meet unknowingly."""

from __future__ import annotations

import functools
import importlib.metadata
import re

# jaxlib's releases from the first to below the second.
SLOW_SCATTERS = ((0, 10, 2), (0, 11, 1))


def slow_scatters(platform: str, jaxlib: str) -> str:
    """What to know of a version of jaxlib on a platform; '' where it does not have this bug.

    On NVIDIA GPUs, jaxlib 0.10.2 to 0.11.0 compile a float32 scatter-add to a loop of
    compare-and-swap: jax-ml/jax#38806, openxla/xla#46225. The update of rows has none; a model,
    loss or metric of one's own may.

    Args:
      platform: as JAX's devices tell it: cpu, gpu, tpu.
      jaxlib: its version, such as '0.11.0'.
    """
    first, fixed = SLOW_SCATTERS
    if platform not in ("gpu", "cuda") or not first <= _numbers(jaxlib) < fixed:
        return ""
    return (
        f"jaxlib {jaxlib} on a GPU: from 0.10.2 to 0.11.0, scatters that add are up to 2000 times "
        "slower than in other versions (jax-ml/jax#38806, openxla/xla#46225). The update of tables "
        "has none, but code of your own may. Install jax 0.11.1 or newer, which needs Python 3.12: "
        "pip install -e '.[gpu]'"
    )


@functools.cache  # so that a process says it once, however many runs it starts
def warn(platform: str) -> None:
    """Prints what is known to be wrong with the installed jaxlib on this platform."""
    if found := slow_scatters(platform, importlib.metadata.version("jaxlib")):
        print(f"warning: {found}")


def _numbers(version: str) -> tuple[int, ...]:
    """(0, 11, 0) of '0.11.0' and of '0.11.0.dev20260701'."""
    return tuple(int(part) for part in re.match(r"\d+(?:\.\d+)*", version)[0].split("."))
