"""Optimised HLO as computations of operations, each with how deep in loops it runs.

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
from collections.abc import Iterator

ITEM_BYTES = dict.fromkeys(("pred", "s8", "u8"), 1)
ITEM_BYTES |= dict.fromkeys(("bf16", "f16", "s16", "u16"), 2)
ITEM_BYTES |= dict.fromkeys(("s64", "u64", "f64", "c64"), 8)
NO_ARRAYS = ("token", "opaque")
ON_CHIP = "S(1)"  # a TPU's VMEM


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
        return self.size * ITEM_BYTES.get(self.dtype, 4)

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
        return math.prod(dims) * ITEM_BYTES.get(self.dtype, 4)

    @property
    def on_chip(self) -> bool:
        return ON_CHIP in self.layout


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

    def has(self, attribute: str) -> bool:
        return attribute in self.rest

    def attribute(self, pattern: str) -> str:
        """The first group of a pattern found in `rest`; '' where it is not there."""
        found = re.search(pattern, self.rest)
        return found[1] if found else ""

    @property
    def origin(self) -> str:
        """JAX's name of what it was made of."""
        return self.attribute(r'op_name="([^"]*)"')

    @functools.cached_property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it runs, reductions' included."""
        one = re.findall(r"\b(?:calls|to_apply|body|condition)=%([\w.\-]+)", self.rest)
        several = re.findall(
            r"\b(?:branch_computations|called_computations)=\{([^}]*)\}", self.rest
        )
        return (*one, *(name for listed in several for name in re.findall(r"%([\w.\-]+)", listed)))


@dataclasses.dataclass(frozen=True)
class Placed:
    """An operation and where it stands.

    Attributes:
      computation: the name of its computation.
      depth: loops around it; 0 outside of all.
      fused: it is a part of a fusion, so that its result may never be in memory.
    """

    operation: Operation
    computation: str
    depth: int
    fused: bool


@dataclasses.dataclass(frozen=True)
class Program:
    """A module's computations.

    Attributes:
      computations: name to operations in order; the last is the root.
      entry: the computation that runs.
      devices: that run it together.
    """

    computations: dict[str, tuple[Operation, ...]]
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
            for operation in self.computations[name]:
                yield Placed(operation, name, depth, fused)
                deeper = depth + (operation.code == "while")
                inside = fused or operation.code == "fusion"
                waiting += [(called, deeper, inside) for called in operation.called]

    def made(self, computation: str, name: str) -> Operation | None:
        """The operation of that name; None where it is none of the computation's."""
        return self._by_name[computation].get(name)

    def root(self, computation: str) -> Operation:
        """The operation whose result is the computation's."""
        return self.computations[computation][-1]

    @functools.cached_property
    def _by_name(self) -> dict[str, dict[str, Operation]]:
        return {
            computation: {operation.name: operation for operation in operations}
            for computation, operations in self.computations.items()
        }


def read_program(text: str) -> Program:
    """Raises ValueError where the text is no module with an entry."""
    computations: dict[str, list[Operation]] = {}
    roots: dict[str, Operation] = {}
    entry, current, sizes = "", "", [1]
    for line in text.splitlines():
        start = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if line.startswith("HloModule"):
            sizes += numbers(",".join(re.findall(r"(?:num_partitions|replica_count)=(\d+)", line)))
        elif start:
            current = start[2]
            computations[current] = []
            entry = current if start[1] else entry
        elif line.startswith("}"):
            current = ""
        elif current and (operation := read_operation(line)):
            if line.lstrip().startswith("ROOT"):
                roots[current] = operation
            else:
                computations[current].append(operation)
    if not entry:
        raise ValueError("no ENTRY in what should be the text of a compiled program")
    ordered = {
        name: (*operations, *([roots[name]] if name in roots else []))
        for name, operations in computations.items()
    }
    return Program(ordered, entry, math.prod(sizes))


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
    return Operation(start[1], read_arrays(arrays), code, tuple(operands), made[end + 1 :])


def closing(text: str) -> int:
    """Where the parenthesis that a text opens with is closed; the place behind it."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place + 1
    return len(text)


def read_arrays(text: str) -> tuple[Array, ...]:
    found = re.findall(r"([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?", text)
    return tuple(Array(d, numbers(n), layout) for d, n, layout in found if d not in NO_ARRAYS)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)
