"""A device's memory, as a compiled cell takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from experiments.benchmarks.compiled.cells import Cell
from experiments.benchmarks.compiled.topologies import CHIPS
from experiments.benchmarks.hlo.text import Program
from experiments.benchmarks.measured import Cell as Content

MB = 1e6
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def not_compiled(cell: Cell, record: Mapping[str, Any]) -> dict[str, Content]:
    """The compiler's words; and the least that the program would take, where they tell."""
    said = re.sub(r"\s+", " ", record["error"])[:300]
    told = re.search(r"temporaries \(([\d.]+)([KMGT])\)", said)
    if not told:
        return {"error": said}
    temporaries, held = float(told[1]) * UNITS[told[2]], logical_bytes(cell, record)
    return {
        "peak MB": (held + temporaries) / MB,
        "of its memory": (held + temporaries) / CHIPS[cell.chip].memory,
        "held MB": held / MB,
        "temporaries MB": temporaries / MB,
        "peak over held": (held + temporaries) / held,
        "error": said,
    }


def of_memory(cell: Cell, record: Mapping[str, Any], program: Program) -> dict[str, Content]:
    memory = record["memory"]
    row: dict[str, Content] = {
        "peak MB": memory["peak"] / MB,
        "of its memory": memory["peak"] / CHIPS[cell.chip].memory,
        "held MB": memory["arguments"] / MB,
        "temporaries MB": memory["temporaries"] / MB,
        "new outputs MB": (memory["outputs"] - memory["aliased"]) / MB,
        "code MB": memory["code"] / MB,
    }
    if cell.kind != "create":
        row["peak over held"] = memory["peak"] / memory["arguments"]
        row["stored over logical"] = stored_bytes(record, program) / logical_bytes(cell, record)
    if "plan" in record:
        row["held over plan"] = memory["arguments"] / record["plan"]["held"]
        planned = record["plan"]["held"] + record["plan"]["temporaries"]
        row["plan over peak"] = planned / memory["peak"]
    return row


def logical_bytes(cell: Cell, record: Mapping[str, Any]) -> float:
    """Of tables and slots on a device; scoring is not given the slots."""
    parts = ("bytes",) if cell.kind == "score" else ("bytes", "slot bytes")
    return sum(table[part] for table in record["tables"].values() for part in parts)


def stored_bytes(record: Mapping[str, Any], program: Program) -> int:
    """Of the program's parameters that are tables and slots, padded as they lie."""
    shapes = {tuple(array["shape"]) for array in record["arrays"]}
    return sum(
        array.padded_bytes
        for operation in program.computations[program.entry]
        if operation.code == "parameter"
        for array in operation.arrays
        if array.dims in shapes
    )
