"""What a compiled cell is read for: a row of the suite's table."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dtn_jax.tables.stored_rows import SHORT
from experiments.benchmarks.compiled.cells import Cell
from experiments.benchmarks.compiled.memory import MB, not_compiled, of_memory
from experiments.benchmarks.compiled.topologies import CHIPS
from experiments.benchmarks.hlo.collectives import Exchanged, read_collectives
from experiments.benchmarks.hlo.text import Array, Operation, Placed, Program, read_program
from experiments.benchmarks.hlo.whole_tables import COPY, ON_CHIP, PASS, Whole, whole_tables
from experiments.benchmarks.measured import Cell as Content

GB = 1e9
LOOPED = ("train", "update")  # kinds whose program is a loop of steps
HOST = r"(?i)callback|host"
FOR_EVER = 2**63 - 1


def read_figures(cell: Cell, record: Mapping[str, Any], text: str) -> dict[str, Content]:
    """The columns of a cell; those that cannot be had are None.

    Args:
      record: as program.py writes it.
      text: the optimised HLO; '' where the cell did not compile.
    """
    row = described(cell, record)
    if not text:
        return row | not_compiled(cell, record)
    program = read_program(text)
    row |= of_memory(cell, record, program)
    row |= of_tables(cell, record, program)
    row |= of_exchange(cell, record, program)
    return row | of_operations(cell, record, program)


def described(cell: Cell, record: Mapping[str, Any]) -> dict[str, Content]:
    """What was compiled, and every other column, empty."""
    return {
        "cell": cell.name,
        "devices": record["devices"],
        **dict.fromkeys(COLUMNS),
        "seconds": round(record["seconds"], 1),
    }


def of_tables(cell: Cell, record: Mapping[str, Any], program: Program) -> dict[str, Content]:
    tpu = CHIPS[cell.chip].platform == "tpu"
    long, short = table_sizes(record)
    found = whole_tables(program, long | short, tpu)
    by_step = [w for w in found if in_step(cell, w.depth)]
    by_chunk = [w for w in found if not in_step(cell, w.depth)]

    def count(whole: Iterable[Whole], how: str, sizes: set[int]) -> int:
        return sum(w.how == how and w.array.size in sizes for w in whole)

    return {
        "copies a step": count(by_step, COPY, long),
        "copies a chunk": count(by_chunk, COPY, long),
        "short copies a step": count(by_step, COPY, short - long),
        "short copies a chunk": count(by_chunk, COPY, short - long),
        "copied MB a step": sum(w.array.padded_bytes for w in by_step if w.how == COPY) / MB,
        "passes a step": count(by_step, PASS, long),
        "passes a chunk": count(by_chunk, PASS, long),
        "short passes a step": count(by_step, PASS, short - long),
        "on chip MB a step": sum(w.array.padded_bytes for w in by_step if w.how == ON_CHIP) / MB,
        "whole": "; ".join(told(cell, found)),
    }


def table_sizes(record: Mapping[str, Any]) -> tuple[set[int], set[int]]:
    """Of the arrays of long and of short tables: how many numbers a device has of each.

    A short one, of few rows for each id of a step, may be passed over.
    """
    long, short = set(), set()
    for array in record["arrays"]:
        table = array["table"]
        if table in record["tables"]:
            few = record["tables"][table]["rows"] <= SHORT * record["ids"][table]
            (short if few else long).add(math.prod(array["shape"]))
    return long, short


def told(cell: Cell, found: Iterable[Whole]) -> list[str]:
    """Such as '3 copy f32[2500096,64]{1,0} a step'."""
    counted = collections.Counter((w.how, named(w.array), when(cell, w.depth)) for w in found)
    return [f"{n} {how} {array} {often}" for (how, array, often), n in counted.items()]


def named(array: Array) -> str:
    axes = array.layout.partition(":")[0]
    return f"{array.dtype}[{','.join(map(str, array.dims))}]{{{axes}}}"


def when(cell: Cell, depth: int) -> str:
    if cell.kind not in LOOPED:
        return "a call"
    return "a step" if depth else "a chunk"


def in_step(cell: Cell, depth: int) -> bool:
    return depth > 0 or cell.kind not in LOOPED


def of_exchange(cell: Cell, record: Mapping[str, Any], program: Program) -> dict[str, Content]:
    """A step's loop has the first round; further ones are a loop within it."""
    found = [e for e in read_collectives(program) if e.collective.devices > 1]
    step = 1 if cell.kind in LOOPED else 0
    first = [e for e in found if e.depth == step]
    carried = sum(e.collective.bytes for e in first)
    largest = max((e.padded for e in found if e.depth >= step), default=0)
    row: dict[str, Content] = {
        "carried MB a step": carried / MB,
        "carried MB a further round": sum(e.collective.bytes for e in found if e.depth > step) / MB,
        "padded MB a step": sum(e.padded for e in first) / MB,
        "largest collective MB": largest / MB,
        "largest over batch": largest / record["batch's rows"],
        "beside next ids": min((e.beside for e in first if carries_next_ids(e)), default=None),
        "collectives": ", ".join(exchanged(cell, e) for e in found),
    }
    if "plan" in record:
        row["carried over plan"] = carried / record["plan"]["carried"]
        row["received"] = record["plan"]["received"]
    return row


def carries_next_ids(one: Exchanged) -> bool:
    """Whether it takes the ids of the next batch to their owners; see `make_train_chunk`."""
    return one.collective.kind == "all-to-all" and "/route/" in one.collective.name


def exchanged(cell: Cell, one: Exchanged) -> str:
    size = f"{one.collective.bytes / MB:.3g} MB"
    if one.padded > 1.01 * one.collective.bytes:
        size += f" as {one.padded / MB:.3g}"
    step = 1 if cell.kind in LOOPED else 0
    return f"{one.collective.kind} {size} " + (
        "a further round" if one.depth > step else when(cell, one.depth)
    )


def of_operations(cell: Cell, record: Mapping[str, Any], program: Program) -> dict[str, Content]:
    every = list(program.walk())
    scatters = [p for p in every if p.operation.code == "scatter"]
    repeated = [p for p in scatters if not p.operation.has("unique_indices=true")]
    arrays = [a for p in every for a in p.operation.arrays]
    cost = record["cost"]
    sorts = [p.operation for p in every if is_sort(p.operation)]
    longest = max((a.size for operation in sorts for a in operation.arrays), default=0)
    row: dict[str, Content] = {
        "sorts": len(sorts),
        "longest sort": longest,
        "scatters": len(scatters),
        "repeated scatters": len(repeated),
        "repeated float scatters": sum("f" in p.operation.arrays[0].dtype for p in repeated),
        "f64": sum(a.dtype == "f64" for a in arrays),
        "host calls": sum(calls_host(p) for p in every),
        "GFLOP a step": cost["flops"] / GB if "flops" in cost else None,
        "GB accessed": cost["bytes accessed"] / GB if "bytes accessed" in cost else None,
        "Mcycles a step": sum(cycles(p) for p in every if in_step(cell, p.depth)) / MB or None,
    }
    if "plan" in record:
        most = max(record["plan"]["received"], record["own ids"])
        row["longest sort over received"] = longest / most
    return row


def is_sort(operation: Operation) -> bool:
    """GPUs' compiler calls a library for some."""
    called = operation.attribute(r'custom_call_target="([^"]*)"')
    return operation.code == "sort" or bool(re.search(r"(?i)sort", called))


def calls_host(placed: Placed) -> bool:
    operation = placed.operation
    target = operation.attribute(r'custom_call_target="([^"]*)"')
    return (
        operation.code in ("infeed", "outfeed")
        or operation.has("is_host_transfer=true")
        or bool(re.search(HOST, target))
    )


def cycles(placed: Placed) -> int:
    """A TPU's compiler estimates them for fusions and what is like them, not for sorts, gathers,
    scatters and collectives; what SparseCores do is said to take for ever."""
    found = int(placed.operation.attribute(r'"estimated_cycles":"(\d+)"') or 0)
    return 0 if found == FOR_EVER else found


COLUMNS = (
    "peak MB",
    "of its memory",
    "held MB",
    "temporaries MB",
    "new outputs MB",
    "code MB",
    "peak over held",
    "stored over logical",
    "held over plan",
    "plan over peak",
    "copies a step",
    "copies a chunk",
    "short copies a step",
    "short copies a chunk",
    "copied MB a step",
    "passes a step",
    "passes a chunk",
    "short passes a step",
    "on chip MB a step",
    "carried MB a step",
    "carried MB a further round",
    "padded MB a step",
    "largest collective MB",
    "largest over batch",
    "beside next ids",
    "carried over plan",
    "received",
    "longest sort",
    "longest sort over received",
    "sorts",
    "scatters",
    "repeated scatters",
    "repeated float scatters",
    "f64",
    "host calls",
    "GFLOP a step",
    "GB accessed",
    "Mcycles a step",
    "seconds",
    "collectives",
    "whole",
    "error",
)
