"""Reads what a compiler made of a program: its optimised HLO, as text, of CPU, GPU or TPU.

An operation is a line such as
`%copy.1 = f32[94208,64]{1,0:T(8,128)S(1)} copy(%gather.2), metadata={op_name="jit(f)/gather"}`:
name, arrays that it makes, opcode, operands, attributes. `{1,0:T(8,128)S(1)}` is a layout: the axes
from the innermost on, tiles that the array is padded to, and the memory (1: on the chip).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Collection, Iterator

BYTES = dict.fromkeys(("pred", "s8", "u8"), 1) | dict.fromkeys(("bf16", "f16", "s16", "u16"), 2)
BYTES |= dict.fromkeys(("s64", "u64", "f64", "c64"), 8)
KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all")
KINDS += ("collective-permute", "collective-broadcast")
# What makes no array: its result is another's memory, or what a caller or a loop holds.
HELD = {
    "parameter", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call",
    "opt-barrier", "optimization-barrier", "async-done", "async-update", "copy-done", "slice-done",
    "call-done", "all-gather-done", "all-reduce-done", "add-dependency",
}  # fmt: skip
RENAMED = {"bitcast", "reshape", "transpose", "copy", "get-tuple-element"}  # the same numbers
COPIED = {"copy", "transpose", "copy-start", "reshape"}
IN_PLACE = {"scatter": 2, "dynamic-update-slice": 1}  # which operand is written


@dataclasses.dataclass(frozen=True)
class Array:
    """`f32[94208,64]{1,0:T(8,128)}`: dtype, dims and layout."""

    dtype: str
    dims: tuple[int, ...]
    layout: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        return self.size * BYTES.get(self.dtype, 4)

    @property
    def padded_bytes(self) -> int:
        """In memory: the innermost axes are padded to the layout's first tile."""
        dims = list(self.dims)
        tile = re.search(r"T\(([\d,]+)\)", self.layout)
        if tile and dims:
            axes = self.layout.partition(":")[0]
            innermost = [int(n) for n in axes.split(",") if n] or range(len(dims))[::-1]
            for axis, side in zip(innermost, numbers(tile[1])[::-1]):
                dims[axis] = -(-dims[axis] // side) * side
        return math.prod(dims) * BYTES.get(self.dtype, 4)


@dataclasses.dataclass(frozen=True)
class Operation:
    """A line of a computation.

    Attributes:
      arrays: that it makes, those of nested tuples one after another.
      operands: names of operations.
      rest: attributes, metadata and the backend's settings, as text.
    """

    name: str
    arrays: tuple[Array, ...]
    code: str
    operands: tuple[str, ...]
    rest: str

    def attribute(self, pattern: str) -> str:
        """The first group of a pattern found in `rest`; '' where it is not there."""
        found = re.search(pattern, self.rest)
        return found[1] if found else ""

    @property
    def target(self) -> str:
        return self.attribute(r'custom_call_target="([^"]*)"')

    @functools.cached_property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it runs, reductions' included."""
        one = re.findall(r"\b(?:calls|to_apply|body|condition)=%([\w.\-]+)", self.rest)
        lists = re.findall(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}", self.rest)
        return (*one, *(name for names in lists for name in re.findall(r"%([\w.\-]+)", names)))

    @property
    def sorts(self) -> bool:
        """GPUs' compiler calls a library for some."""
        return self.code == "sort" or "sort" in self.target.lower()

    @property
    def calls_host(self) -> bool:
        return (
            self.code in ("infeed", "outfeed")
            or "is_host_transfer=true" in self.rest
            or bool(re.search("(?i)callback|host", self.target))
        )


@dataclasses.dataclass(frozen=True)
class Placed:
    """An operation, its computation, the loops around it (0: none), and whether it is a part of a
    fusion, so that its result may never be in memory."""

    operation: Operation
    computation: str
    depth: int
    fused: bool


@dataclasses.dataclass(frozen=True)
class Program:
    """A module's computations: name to operations by name, in order; the last one is the root.

    Attributes:
      entry: the computation that runs.
      devices: that run it together.
    """

    computations: dict[str, dict[str, Operation]]
    entry: str
    devices: int

    def walk(self) -> Iterator[Placed]:
        """All operations that run, each once, however often its computation is called."""
        seen = set()
        waiting = [(self.entry, 0, False)]
        while waiting:
            name, depth, fused = waiting.pop()
            if name in seen or name not in self.computations:
                continue
            seen.add(name)
            for operation in self.computations[name].values():
                yield Placed(operation, name, depth, fused)
                deeper = depth + (operation.code == "while")
                inside = fused or operation.code == "fusion"
                waiting += [(called, deeper, inside) for called in operation.called]

    def root(self, computation: str) -> Operation:
        """The operation whose result is the computation's."""
        return list(self.computations[computation].values())[-1]


def read_program(text: str) -> Program:
    """Of a module's text; the root of a computation is put last."""
    computations: dict[str, dict[str, Operation]] = {}
    entry, current, root, sizes = "", "", None, [1]
    for line in text.splitlines():
        start = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if line.startswith("HloModule"):
            sizes += numbers(",".join(re.findall(r"(?:num_partitions|replica_count)=(\d+)", line)))
        elif start:
            current, root = start[2], None
            computations[current] = {}
            entry = current if start[1] else entry
        elif line.startswith("}"):
            if root:
                computations[current][root.name] = computations[current].pop(root.name)
            current = ""
        elif current and (operation := read_operation(line)):
            computations[current][operation.name] = operation
            root = operation if line.lstrip().startswith("ROOT") else root
    return Program(computations, entry, math.prod(sizes))


def read_operation(line: str) -> Operation | None:
    """The operation of a line; None where it has none."""
    start = re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = ", line)
    if not start:
        return None
    made = line[start.end() :]
    cut = closing(made) if made.startswith("(") else made.find(" ")
    arrays, made = made[:cut], made[cut:].lstrip()
    code, _, made = made.partition("(")
    end = closing("(" + made) - 2
    operands = re.findall(r"%([\w.\-]+)", made[:end])
    found = re.findall(r"([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?", arrays)
    arrays = tuple(Array(d, numbers(n), at) for d, n, at in found if d not in ("token", "opaque"))
    return Operation(start[1], arrays, code, tuple(operands), made[end + 1 :])


def closing(text: str) -> int:
    """Where the parenthesis that a text opens with is closed; the place behind it."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place + 1
    return len(text)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)


@dataclasses.dataclass(frozen=True)
class Collective:
    """An exchange between devices: bytes of the whole array that is made or reduced, also as it
    lies in memory, and the loops around it."""

    kind: str
    bytes: int
    padded: int
    depth: int


def collectives(program: Program) -> list[Collective]:
    """Each once, however often its loop runs.

    A TPU's compiler spreads an all-gather over the fusions that it overlaps (each has an all-gather
    of the same chain; the first starts it) and writes a reduce-scatter as the all-reduce of a
    fusion that keeps a slice. Both count once, as what they are.
    """
    found = []
    for placed in program.walk():
        operation = placed.operation
        kind = operation.code.removesuffix("-start")
        if kind not in KINDS or _continues(program, placed):
            continue
        devices = _group_size(operation, program.devices)
        copies = devices if kind == "reduce-scatter" else 1
        if 'from-cross-replica-sharding="true"' in operation.rest:
            kind, copies = "reduce-scatter", 1  # the array that is reduced is written whole
        arrays, given = operation.arrays, len(operation.operands)
        if operation.code.endswith("-start"):  # it has what goes in, what comes out, and more
            first = 0 if kind == "all-reduce" else given
            arrays = arrays[first : first + given]
        sizes = (
            copies * sum(a.bytes for a in arrays),
            copies * sum(a.padded_bytes for a in arrays),
        )
        if devices > 1:
            found.append(Collective(kind, *sizes, placed.depth))
    return found


def _continues(program: Program, placed: Placed) -> bool:
    """Whether this is a part, but not the first, of a collective that fusions are overlapped by."""
    if not (placed.fused and "chain_id=" in placed.operation.rest):
        return False
    others = program.computations[placed.computation].values()
    targets = [o.target for o in others if placed.operation.name in o.operands]
    return "AsyncCollectiveStart" not in targets


def _group_size(operation: Operation, everyone: int) -> int:
    """How many devices take part in a group."""
    if pairs := operation.attribute(r"source_target_pairs=\{(.*?\})\}"):
        return len(set(re.findall(r"\d+", pairs)))
    if listed := operation.attribute(r"replica_groups=\{\{([\d,]+)\}"):
        return len(listed.split(","))
    if counted := operation.attribute(r"replica_groups=\[\d+,(\d+)\]"):
        return int(counted)
    if "replica_groups={}" in operation.rest:
        return everyone
    mesh = re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", operation.rest)
    assert mesh, f"cannot read the groups of {operation.name}: {operation.rest[:300]}"
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
    parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])  # an axis, or a part of one
    return math.prod(int(part or sizes[axis]) for axis, part in parts)


def whole_tables(program: Program, sizes: Collection[int], tpu: bool) -> list[str]:
    """Operations that copy a whole table, or write all of it, such as 'copy f32[2500096,64]'.

    A table is known by how many numbers it has on a device, whatever its dtype and dims: a table
    of 64 numbers a row may lie as lines of 128, and be transposed on the way. What a TPU moves to
    its on-chip memory and back is no copy. There scatters with sorted indices walk the whole table.
    """
    found = []
    for placed in program.walk():
        operation = placed.operation
        for place, array in enumerate(() if placed.fused else operation.arrays):
            if array.size in sizes:
                if how := _how_made(program, placed, place, tpu):
                    origin = operation.attribute(r'op_name="([^"]*)"') or operation.name
                    dims = ",".join(map(str, array.dims))
                    found.append(f"{how} {array.dtype}[{dims}] {origin} ({operation.code})")
                if operation.code.endswith("-start"):  # its result has what goes in, too
                    break
    return found


def _how_made(program: Program, placed: Placed, place: int, tpu: bool) -> str:
    """How an array of an operation's result is made; '' where little of it is written."""
    operation = placed.operation
    if operation.code in HELD or operation.target == "AllocateBuffer":
        return ""
    joined = operation.target == "ConcatBitcast"
    if operation.code in COPIED or joined:
        moved = operation.code == "copy-start" or joined
        return "" if moved and any("S(1)" in a.layout for a in operation.arrays) else "copy"
    if operation.code.endswith("-start"):  # of a call: what it calls is walked
        return "pass" if operation.code in ("all-gather-start", "all-reduce-start") else ""
    writer, computation = operation, placed.computation
    if operation.code == "fusion":
        computation, writer = _source(program, operation.called[0], place)
    if writer.code == "parameter":
        return "copy"
    if writer.code not in IN_PLACE:
        return "pass"
    own = program.computations[computation]
    if computation != placed.computation:  # in a fusion, into an array of its own
        _, target = _behind(program, computation, own[writer.operands[0]])
        if target.code != "parameter":
            return "pass"
    written = own[writer.operands[IN_PLACE[writer.code]]]
    if any(a.size >= operation.arrays[place].size for a in written.arrays):
        return "pass"
    return "pass" if tpu and "indices_are_sorted=true" in writer.rest else ""


def _source(program: Program, computation: str, place: int) -> tuple[str, Operation]:
    """The operation that makes a fusion's result number `place`, behind reshapes and copies."""
    operation = program.root(computation)
    if operation.code == "tuple":
        operation = program.computations[computation][operation.operands[place]]
    return _behind(program, computation, operation)


def _behind(program: Program, computation: str, operation: Operation) -> tuple[str, Operation]:
    while operation.code in RENAMED and operation.operands:
        operation = program.computations[computation][operation.operands[0]]
    if operation.code == "fusion":
        return _source(program, operation.called[0], 0)
    return computation, operation
