"""What a run holds in memory, counted before anything is compiled, and what a device has of it.

The count is of what every run holds: its state, and the arrays of a step or of a scoring step. What
the compiler adds, activations above all, is not in it. So a run that is refused cannot run; one
that passes may still run out of memory, which `told` then says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dtn_jax.errors import UserError
from dtn_jax.options import option

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
SHOWN = 200  # letters of XLA's message
SMALL = 0.01  # of the whole: such parts are told together
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


@dataclasses.dataclass(frozen=True)
class Part:
    """Something that lies in memory.

    Attributes:
      name: what it is, with its size in its own terms.
      bytes: on the devices of this process.
      lower: the options that make it smaller.
    """

    name: str
    bytes: int
    lower: str

    def times(self, count: int, lower: str) -> Part:
        """So many of it."""
        return Part(self.name, count * self.bytes, lower)


def check(parts: Sequence[Part], devices: Sequence[jax.Device]) -> None:
    """Raises OutOfMemory where the parts are more than these devices have together."""
    has, needs = available(devices), sum(part.bytes for part in parts)
    if has is None or needs <= has:
        return
    large = sorted((p for p in parts if p.bytes >= SMALL * needs), key=lambda p: -p.bytes)
    lines = [f"  {size(p.bytes):>9}  {p.name}: {p.lower}" for p in large]
    if rest := needs - sum(p.bytes for p in large):
        lines.append(f"  {size(rest):>9}  the rest")
    raise OutOfMemory(
        f"this run cannot fit: it holds at least {size(needs)}, and there are {size(has)} of "
        f"memory{where(devices)}\n"
        + "\n".join(lines)
        + "\nLower these options; --force tries nevertheless"
    )


def available(devices: Sequence[jax.Device]) -> int | None:
    """Bytes that these devices have together; None where they do not say."""
    if devices[0].platform == "cpu":
        return of_host()
    told = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
    return sum(told) if all(told) else None


def where(devices: Sequence[jax.Device]) -> str:
    if devices[0].platform == "cpu":
        return " in this machine"
    return f" on {len(devices)} device{'s' * (len(devices) > 1)}, {devices[0].device_kind}"


def of_host() -> int:
    """Bytes of memory that this machine, or the container that this process is in, may use."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(pathlib.Path, LIMITS):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            found.append(int(path.read_text()))
    return min(found)


def bytes_of(shapes: Any) -> int:
    """Of a pytree of arrays or their shapes, on one device; keys are left out."""
    found = 0
    for array in jax.tree.leaves(shapes):
        if not jnp.issubdtype(array.dtype, jax.dtypes.extended):
            placed = getattr(array, "sharding", None)
            shape = placed.shard_shape(array.shape) if placed else array.shape
            found += math.prod(shape) * array.dtype.itemsize
    return found


def largest(shapes: Any) -> str:
    """The path and shape of the largest array of a pytree: 'tower_click/kernel [64, 32]'."""
    found = jax.tree_util.tree_leaves_with_path(shapes)
    path, array = max(found, key=lambda pair: math.prod(pair[1].shape))
    return f"{jax.tree_util.keystr(path, simple=True, separator='/')} {list(array.shape)}"


def size(count: int) -> str:
    """'25.3 GB' of 25,300,000,000."""
    at = min(max(len(str(count)) - 1, 0) // 3, len(UNITS) - 1)
    return f"{count / 1000**at:,.{1 if at else 0}f} {UNITS[at]}"


@contextlib.contextmanager
def told(lower: str) -> Iterator[None]:
    """Want of memory inside becomes an OutOfMemory, which says what to `lower`."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not ran_out(error):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise OutOfMemory(f"memory ran out ({reason[:SHOWN]}); lower {lower}") from error


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is too little memory."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
