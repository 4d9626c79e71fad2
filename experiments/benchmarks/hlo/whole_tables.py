"""Operations of a compiled program that copy a whole table or write all of it.

A table is known by how many numbers it has on a device, whatever its dtype and dims: a table of
64 numbers a row may lie as lines of 128, and be transposed on the way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from experiments.benchmarks.hlo.text import Array, Operation, Placed, Program

# What makes no array: its result is another's memory, or what a caller or a loop holds.
HELD = {
    "parameter", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call",
    "opt-barrier", "optimization-barrier", "async-done", "async-update", "copy-done", "slice-done",
    "call-done", "all-gather-done", "all-reduce-done", "add-dependency",
}  # fmt: skip
RENAMED = {"bitcast", "reshape", "transpose", "copy", "get-tuple-element"}  # the same numbers
COPIED = {"copy", "transpose", "copy-start", "reshape"}
IN_PLACE = {"scatter": 2, "dynamic-update-slice": 1}  # which operand is written
ALLOCATED, JOINED = "AllocateBuffer", "ConcatBitcast"  # custom calls of TPUs
COPY, ON_CHIP, PASS = "copy", "on chip", "pass"


@dataclasses.dataclass(frozen=True)
class Whole:
    """A table-sized array that is written.

    Attributes:
      how: `copy`; `on chip`, a copy into a TPU's VMEM or out of it; `pass`: computed, or written by
        a scatter that the compiler makes of a walk over the table.
      array: what is written.
      depth: loops around it.
      origin: JAX's name of what it was made of, and the operation.
    """

    how: str
    array: Array
    depth: int
    origin: str


def whole_tables(program: Program, sizes: Collection[int], tpu: bool) -> list[Whole]:
    """What is copied or passed over whole.

    Args:
      sizes: how many numbers a device has of each table and slot.
      tpu: scatters with sorted indices walk the whole table there.
    """
    found = []
    for placed in program.walk():
        operation = placed.operation
        if placed.fused or not any(a.size in sizes for a in operation.arrays):
            continue
        for place, array in enumerate(operation.arrays):
            if array.size in sizes:
                how = how_made(program, placed, place, tpu)
                if how:
                    origin = f"{operation.origin or operation.name} ({operation.code})"
                    found.append(Whole(how, array, placed.depth, origin))
                if operation.code.endswith("-start"):  # its result has what goes in, too
                    break
    return found


def how_made(program: Program, placed: Placed, place: int, tpu: bool) -> str:
    """How an array of an operation's result is made; '' where little of it is written."""
    operation = placed.operation
    if operation.code in HELD or operation.has(f'"{ALLOCATED}"'):
        return ""
    if operation.code in COPIED or operation.has(f'"{JOINED}"'):
        moved = operation.code == "copy-start" or operation.has(f'"{JOINED}"')
        return ON_CHIP if moved and any(a.on_chip for a in operation.arrays) else COPY
    if operation.code.endswith("-start"):  # of a call: what it calls is walked
        return PASS if operation.code in ("all-gather-start", "all-reduce-start") else ""
    writer = operation
    computation = placed.computation
    if operation.code == "fusion":
        computation, writer = source(program, operation.called[0], place)
    if writer.code == "parameter":
        return COPY
    if writer.code not in IN_PLACE or not of_parameter(program, computation, writer, placed):
        return PASS
    written = program.made(computation, writer.operands[IN_PLACE[writer.code]])
    if any(a.size >= operation.arrays[place].size for a in written.arrays):
        return PASS
    return PASS if tpu and writer.has("indices_are_sorted=true") else ""


def source(program: Program, computation: str, place: int) -> tuple[str, Operation]:
    """The operation that makes a fusion's result number `place`, behind reshapes and copies."""
    operation = program.root(computation)
    if operation.code == "tuple":
        operation = program.made(computation, operation.operands[place])
    return behind(program, computation, operation)


def behind(program: Program, computation: str, operation: Operation) -> tuple[str, Operation]:
    while operation.code in RENAMED and operation.operands:
        operation = program.made(computation, operation.operands[0])
    if operation.code == "fusion":
        return source(program, operation.called[0], 0)
    return computation, operation


def of_parameter(program: Program, computation: str, writer: Operation, placed: Placed) -> bool:
    """Whether a scatter writes into what the fusion was given; else into an array of its own."""
    if computation == placed.computation:
        return True  # not fused: into another operation's result
    _, written = behind(program, computation, program.made(computation, writer.operands[0]))
    return written.code == "parameter"
