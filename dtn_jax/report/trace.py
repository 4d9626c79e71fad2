"""Reads from a trace of JAX's profiler how long each operation of a program took.

The times are those of the trace's events that carry the name of an HLO operation. The program
itself lies in the trace too, as XLA's HloProto: it says where in the model an operation comes
from. jax.profiler.ProfileData reads events but not that, so a few fields of these messages are
read here by their numbers, which stand in tsl/profiler/protobuf/xplane.proto and
xla/service/hlo.proto.

Tried on CPUs. On GPUs and TPUs it has not run.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import NamedTuple, no_type_check

import rich.box
import rich.table
from jax.profiler import ProfileData

# Their time is that of the operations inside them, which have events of their own.
CONTAINERS = ("while", "conditional", "call")
METADATA_PLANE = "/host:metadata"
SHOWN = 90  # characters of a source, which may name all that was fused
Key = tuple[str, str]  # the name of a program, and of an operation in it


class Instruction(NamedTuple):
    """What a program says of an operation: its kind, and the names of JAX that it comes from."""

    opcode: str
    source: str


@dataclasses.dataclass(frozen=True)
class Operation:
    """An HLO operation of a program.

    Attributes:
      name: such as `fusion.33`.
      milliseconds: of all its calls, summed over devices and threads.
      calls: how often it ran.
      source: where it comes from, a path of JAX's names; '' where the trace does not tell.
    """

    name: str
    milliseconds: float
    calls: int
    source: str


def operations(trace: pathlib.Path) -> list[Operation]:
    """The operations of all programs, the one with the most time first; [] if none is named.

    Args:
      trace: a file `*.xplane.pb`.
    """
    content = trace.read_bytes()
    known = _instructions(memoryview(content))
    nanoseconds, calls = collections.Counter(), collections.Counter()
    for key, number, duration in _events(ProfileData.from_serialized_xspace(content)):
        opcode = known[key].opcode if key in known else key[1].partition(".")[0]
        if opcode not in CONTAINERS:
            nanoseconds[key, number] += duration
            calls[key, number] += 1
    return [
        Operation(
            name=key[1],
            milliseconds=total / 1e6,
            calls=calls[key, number],
            source=known[key].source if key in known else "",
        )
        for (key, number), total in nanoseconds.most_common()
    ]


def heaviest(found: list[Operation], title: str, count: int = 10) -> rich.table.Table:
    """A table of the `count` first operations, with their share of the time of all of them."""
    table = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD, show_edge=False)
    table.add_column("operation", overflow="fold")
    for column in ("ms", "share", "calls"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("from", overflow="fold")
    total = sum(operation.milliseconds for operation in found)
    for operation in found[:count]:
        table.add_row(
            operation.name,
            f"{operation.milliseconds:,.1f}",
            f"{operation.milliseconds / total:.1%}",
            f"{operation.calls:,}",
            _shortened(operation.source),
        )
    return table


def _events(trace: ProfileData) -> Iterator[tuple[Key, int, float]]:
    """(operation, number of its program, nanoseconds), of the devices' planes; of the host's where
    no other has any."""
    planes = list(trace.planes)
    for own in (True, False):
        found = False
        for plane in planes:
            if plane.name.startswith("/device:") is not own:
                continue
            for line in plane.lines:
                for event in line.events:
                    stats = dict(event.stats)
                    if "hlo_op" in stats:
                        found = True
                        key = str(stats.get("hlo_module")), str(stats["hlo_op"])
                        yield key, stats.get("program_id", 0), event.duration_ns
        if found:
            return


def _instructions(space: memoryview) -> dict[Key, Instruction]:
    """What the programs in a trace have; without a source where two of one name disagree.

    A program's number is no help: one that comes from JAX's cache has another one in its events.
    XSpace.planes, XPlane.event_metadata, its XEventMetadata with .name and .stats,
    XStat.bytes_value; therein HloProto.hlo_module, HloModuleProto.computations,
    HloComputationProto.instructions; of these HloInstructionProto.name, .opcode, and
    .metadata with OpMetadata.op_name.
    """
    found = {}
    for plane in _inside(space, 1):
        if METADATA_PLANE not in [_text(name) for name in _inside(plane, 2)]:
            continue
        for program in _inside(plane, 4, 2):
            name = _first(program, 2).partition("(")[0]  # of 'jit_train_chunk(4)'
            for instruction in _inside(program, 5, 6, 1, 3, 2):
                key, opcode = (name, _first(instruction, 1)), _first(instruction, 2)
                source = _first(instruction, 7, 2)
                same = key not in found or found[key].source == source
                found[key] = Instruction(opcode, source if same else "")
    return found


@no_type_check  # called for every field of a trace
def _first(message: memoryview, *path: int) -> str:
    """The text in a field; '' if it is not there."""
    return next(map(_text, _inside(message, *path)), "")


@no_type_check  # called for every field of a trace
def _inside(message: memoryview, number: int, *deeper: int) -> Iterator[memoryview]:
    """The values of a field of a protobuf message, or of the fields `deeper` in these."""
    for field, value in _fields(message):
        if field == number and isinstance(value, memoryview):
            if deeper:
                yield from _inside(value, *deeper)
            else:
                yield value


@no_type_check  # called for every field of a trace
def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, value) of each field of a protobuf message, by the wire format's four kinds."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, message[at : at + size]
        at += size


@no_type_check  # called for every field of a trace
def _text(value: memoryview) -> str:
    return bytes(value).decode(errors="replace")


def _shortened(source: str) -> str:
    """The first of a source's names, without the `jit(train_chunk)/while/body/` of a step's."""
    first = source.partition(";")[0]
    first = first.rpartition("while/body/")[2] or first
    return first if len(first) <= SHOWN else first[:SHOWN] + "…"
