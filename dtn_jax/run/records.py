"""metrics.jsonl: a record a line, and what the lines say of a whole run.

A line that is no record costs no other line, and is kept aside.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dtn_jax.errors import UserError

NAME = "metrics.jsonl"
ASIDE = "metrics.damaged"  # beside it: the lines that were no records, each after its number
SHOWN = 5  # of their numbers, in a message
NUMBERS = ("step", "epoch")  # that every record has, beside its kind


class Log(NamedTuple):
    """What metrics.jsonl holds.

    Attributes:
      records: those of the lines that are whole, in order.
      damaged: the other lines, by their numbers from 1; a last one that a crash cut short is left
        out.
    """

    records: list[dict]
    damaged: dict[int, bytes]


def read(folder: pathlib.Path) -> Log:
    """The log of the run in a folder; an empty one where there is none.

    Raises:
      UserError: a folder stands in its place.
    """
    try:
        *lines, cut = (folder / NAME).read_bytes().split(b"\n")
    except FileNotFoundError:
        return Log([], {})
    except IsADirectoryError:
        raise UserError(
            f"{folder / NAME} is a folder, expected the file of the run's records; move it away "
            "(the run then goes on, and only the curves lack what was logged before)"
        ) from None
    found = {number: _record(line) for number, line in enumerate(lines, 1)}
    records = [record for record in (*found.values(), _record(cut)) if record]
    damaged = {n: lines[n - 1] for n, r in found.items() if not r and lines[n - 1].strip()}
    return Log(records, damaged)


def told(folder: pathlib.Path, log: Log) -> str:
    """Which lines of a log are damaged; '' if none is."""
    if not log.damaged:
        return ""
    numbers = [str(n) for n in log.damaged]
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    lines = "line" if len(numbers) == 1 else "lines"
    return f"{folder / NAME}, {lines} {', '.join(numbers[:SHOWN])}{more}: no record can be read"


def set_aside(folder: pathlib.Path, log: Log) -> None:
    """Keeps the damaged lines in a file beside the log, and says so."""
    with (folder / ASIDE).open("ab") as file:
        for number, line in log.damaged.items():
            file.write(b"%d: %b\n" % (number, line))
    print(f"warning: {told(folder, log)}; kept in {folder / ASIDE}, and all others stay")


def _record(line: bytes) -> dict | None:
    """What a line holds: {"kind": text, "step": …, "epoch": …, NAME: a number or None}."""
    try:
        found = json.loads(line.decode())
        numbers = [v for k, v in found.items() if k != "kind" and (v is not None or k in NUMBERS)]
        good = isinstance(found["kind"], str) and {*NUMBERS} <= found.keys()
        good = good and all(type(v) in (int, float) for v in numbers)
        return found if good and type(found["step"]) is int else None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None


def median_rate(history: list[dict]) -> float | None:
    """Examples per second in training: the median over logged spans, None if none was timed."""
    rates = [r.get("examples_per_second") for r in history if r["kind"] == "train"]
    rates = [rate for rate in rates if rate is not None]
    return float(np.median(rates)) if rates else None


def mean_exchange(history: list[dict]) -> dict[str, dict[str, float]]:
    """What a step's devices have exchanged, {packed array: {what: mean over the logged steps}}."""
    found: dict[str, dict[str, list[tuple[float, int]]]] = {}
    before = 0
    for record in (r for r in history if r["kind"] == "train"):
        steps, before = max(record["step"] - before, 1), record["step"]
        for key, value in record.items():
            if key.startswith("exchange/"):
                _, name, what = key.split("/")
                found.setdefault(name, {}).setdefault(what, []).append((value, steps))

    def mean(spans: list[tuple[float, int]]) -> float:
        values, steps = zip(*spans)
        return float(np.average(values, weights=steps))

    return {
        name: {what: mean(spans) for what, spans in by_what.items()}
        for name, by_what in found.items()
    }


def flat(results: Mapping[str, Mapping[str, float | int | None]]) -> dict:
    """{task@space: {metric: value}} as a record has it, 'task@space/metric': value."""
    return {f"{key}/{name}": value for key, own in results.items() for name, value in own.items()}


def nested(record: dict) -> dict[str, dict]:
    """The inverse of `flat`, of a record of a validation."""
    made = {}
    for name, value in record.items():
        key, slash, metric = name.partition("/")
        if slash:
            made.setdefault(key, {})[metric] = value
    return made
