"""What there is of memory, and what a device needs of it: a run that cannot fit is refused.

What is counted is what every run holds: its state, and the arrays of a step or of a scoring step.
What the compiler adds, activations above all, is not in it. So a run that is refused cannot run;
one that passes may still run out of memory, which `told` then says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dtn_jax.errors import UserError
from dtn_jax.options import option

SHOWN = 200  # letters of XLA's message
# Where the memory that a container may use stands, by versions of Linux's control groups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclasses.dataclass(frozen=True)
class MemoryOptions:
    """Section `parallel`: memory."""

    check_memory: bool = option(
        True,
        "refuse a run that cannot fit in memory before it is compiled; --force turns it off",
        runtime=True,
    )


class OutOfMemory(UserError):
    """A run does not fit, or did not."""


class Part(NamedTuple):
    """Something that lies in memory: what it is, its bytes, and the options that make it smaller.

    The bytes are of one device.
    """

    name: str
    bytes: int
    lower: str


def check(parts: Sequence[Part], devices: Sequence[jax.Device]) -> None:
    """Raises OutOfMemory where the parts, of each of these devices, are more than there is."""
    has, needs = available(devices), len(devices) * sum(part.bytes for part in parts)
    if has is None or needs <= has:
        return
    lines = [
        f"  {size(len(devices) * part.bytes):>12}  {part.name}: {part.lower}"
        for part in sorted(parts, key=lambda part: -part.bytes)
    ]
    raise OutOfMemory(
        f"this run cannot fit: it holds at least {size(needs)}, and there are {size(has)} of "
        f"memory on {devices[0].device_kind} x {len(devices)}\n"
        + "\n".join(lines)
        + "\nLower these options; --force tries nevertheless"
    )


def available(devices: Sequence[jax.Device]) -> int | None:
    """Bytes that these devices have together; None where they do not say."""
    if devices[0].platform == "cpu":
        return of_host()
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
    return sum(limits) if all(limits) else None


def of_host() -> int:
    """Bytes of memory that this machine, or the container that this process is in, may use."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(pathlib.Path, LIMITS):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(path.read_text()))
    return min(limits)


def bytes_of(shapes: Any) -> int:
    """Of a pytree of arrays or their shapes, on one device; keys are left out."""
    total = 0
    for array in jax.tree.leaves(shapes):
        if not jnp.issubdtype(array.dtype, jax.dtypes.extended):
            placed = getattr(array, "sharding", None)
            shape = placed.shard_shape(array.shape) if placed else array.shape
            total += math.prod(shape) * array.dtype.itemsize
    return total


def size(count: int) -> str:
    """'25.30 GB' of 25,300,000,000."""
    return f"{count / 1e9:,.2f} GB"


@contextlib.contextmanager
def told(lower: str) -> Iterator[None]:
    """Want of memory inside becomes an OutOfMemory, which says what to `lower`."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not (isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise OutOfMemory(f"memory ran out ({reason[:SHOWN]}); lower {lower}") from error
