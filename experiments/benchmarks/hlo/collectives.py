"""The exchanges between devices that a compiled program makes.

A TPU's compiler spreads an all-gather over the fusions that it overlaps (each has an all-gather of
the same chain; the first starts it) and writes a reduce-scatter as the all-reduce of a fusion that
keeps a slice. Both count once, as what they are.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable

from experiments.benchmarks.exchanged import Collective
from experiments.benchmarks.hlo.text import Array, Operation, Placed, Program

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
FUSED_SCATTER = 'from-cross-replica-sharding="true"'
COMPUTING = ("fusion", "custom-call", "while", "sort", "scatter", "gather", "dot", "convolution")
STARTED, ENDED = "AsyncCollectiveStart", "AsyncCollectiveDone"


@dataclasses.dataclass(frozen=True)
class Exchanged:
    """A collective in a program's text.

    Attributes:
      collective: its name, kind, logical bytes and devices.
      padded: bytes of the whole array as it lies in memory.
      depth: loops around it.
      beside: operations that compute between its start and its end; 0 where the device waits.
    """

    collective: Collective
    padded: int
    depth: int
    beside: int


def read_collectives(program: Program) -> list[Exchanged]:
    """Each collective once, however often its loop runs."""
    found = []
    for placed in program.walk():
        kind = placed.operation.code.removesuffix("-start")
        if kind in KINDS and not continued(program, placed):
            found.append(read_collective(kind, placed, program))
    return found


def continued(program: Program, placed: Placed) -> bool:
    """Whether this is a part, but not the first, of a collective that fusions are overlapped by."""
    if not (placed.fused and placed.operation.has("chain_id=")):
        return False
    targets = [
        operation.attribute(r'custom_call_target="(\w+)"')
        for operation in program.computations[placed.computation]
        if placed.operation.name in operation.operands
    ]
    return STARTED not in targets


def read_collective(kind: str, placed: Placed, program: Program) -> Exchanged:
    operation = placed.operation
    devices = group_size(operation, program.devices)
    arrays = results(operation)
    if operation.has(FUSED_SCATTER):
        kind = "reduce-scatter"
        copies = 1  # the array that is reduced is written whole
    else:
        copies = devices if kind == "reduce-scatter" else 1
    return Exchanged(
        Collective(operation.origin, kind, copies * sum(a.bytes for a in arrays), devices),
        copies * sum(a.padded_bytes for a in arrays),
        placed.depth,
        sum(o.code in COMPUTING for o in between(program, placed)),
    )


def between(program: Program, placed: Placed) -> tuple[Operation, ...]:
    """What a schedule has between a collective's start and its end."""
    started = placed.operation
    if not started.code.endswith("-start"):
        return ()
    every = program.computations[placed.computation]
    first = every.index(started)
    done = started.code.removesuffix("-start") + "-done"
    for last in range(first + 1, len(every)):
        if every[last].code == done and started.name in every[last].operands:
            return every[first + 1 : last]
    return ()


def results(operation: Operation) -> tuple[Array, ...]:
    """The arrays that come out; what starts has (what goes in, what comes out, more)."""
    given = len(operation.operands)
    if not operation.code.endswith("-start"):
        return operation.arrays
    first = 0 if operation.code == "all-reduce-start" else given
    return operation.arrays[first : first + given]


def group_size(operation: Operation, everyone: int) -> int:
    """How many devices take part in a group.

    Raises:
      ValueError: its groups are written in a way that is not known.
    """
    if pairs := operation.attribute(r"source_target_pairs=\{(.*?\})\}"):
        return len(set(re.findall(r"\d+", pairs)))
    if listed := operation.attribute(r"replica_groups=\{\{([\d,]+)\}"):
        return len(listed.split(","))
    if counted := operation.attribute(r"replica_groups=\[\d+,(\d+)\]"):
        return int(counted)
    if operation.has("replica_groups={}"):
        return everyone
    mesh = re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", operation.rest)
    if not mesh:
        raise ValueError(f"cannot read the groups of {operation.name}: {operation.rest[:300]}")
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
    parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])  # an axis, or a part of one
    return math.prod(int(part or sizes[axis]) for axis, part in parts)


def total_bytes(carried: Iterable[Collective]) -> dict[str, int]:
    """Bytes by kind, of those between devices."""
    sums: dict[str, int] = {}
    for one in carried:
        if one.devices > 1:
            sums[one.kind] = sums.get(one.kind, 0) + one.bytes
    return sums
