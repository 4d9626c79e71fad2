"""An engineer's question: which slice trains on so many rows in so many hours?

Of the model of `large`: memory, bytes and times come from formulas (`needs`, `times`), so the
answer takes seconds and no accelerator. It is made for a terminal of 80 columns.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence

from dtn_jax.errors import UserError, choose
from dtn_jax.tables.plan import LARGEST_ID, ROW_MULTIPLE
from experiments.benchmarks import times
from experiments.benchmarks.compiled.cells import whole
from experiments.benchmarks.large import EXAMPLES, predict_large
from experiments.benchmarks.needs import Prediction
from experiments.benchmarks.rates import ASSUMED, LEFT_OUT, RATES, Rates
from experiments.benchmarks.tables import FIELDS
from experiments.benchmarks.times import Times

COLUMNS = 80
LARGEST_DIM = 4096
HEADER = ("devices", "holds", "of it", "ms/step", "hours", "bound by", "")


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
      rows: of training, in an epoch.
      table_rows: of all tables.
      dim: E, numbers of a row.
      devices: keys of RATES.
      hours: that an epoch may take.
    """

    rows: int
    table_rows: int
    dim: int
    devices: tuple[str, ...]
    hours: float


@dataclasses.dataclass(frozen=True)
class Slice:
    """So many devices, and what they would do."""

    devices: int
    predicted: Prediction
    times: Times
    hours: float
    fits: bool


def read(texts: Mapping[str, str]) -> Question:
    """Of options as texts.

    Raises:
      UserError: a value that cannot be.
    """
    names = tuple(name.strip() for name in texts["device"].split(","))
    for name in names:
        choose("device", name, RATES)
    table_rows = _whole("table_rows", texts, FIELDS, LARGEST_ID - ROW_MULTIPLE * 128)
    try:
        hours = float(texts["hours"])
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise UserError(f"--hours={texts['hours']}: expected a number above 0, such as 8 or 0.5")
    return Question(
        _whole("rows", texts, 1, 10**15),
        table_rows,
        _whole("embedding_dim", texts, 1, LARGEST_DIM),
        names,
        hours,
    )


def _whole(key: str, texts: Mapping[str, str], least: int, most: int) -> int:
    number = whole(f"--{key}", texts[key])
    if not least <= number <= most:
        limit = f"{least:,} to {most:,}"
        if key == "table_rows":
            limit += f" ({FIELDS} fields have a row each, and ids are int32)"
        raise UserError(f"--{key}={texts[key]}: expected {limit}")
    return number


def answer(question: Question) -> str:
    """The lines of the answer."""
    dim, rows, table_rows = question.dim, question.rows, question.table_rows
    asked = (
        f"DTN, {FIELDS} fields, E = {dim}, lazy Adam, {EXAMPLES} examples a device and step: "
        f"{rows:.3g} training rows in {question.hours:g} h an epoch, {table_rows:.3g} table rows"
    )
    parts = [_wrapped(asked)]
    for name in question.devices:
        rates = RATES[name]
        slices = [slice_of(question, rates, n) for n in sizes(rates)]
        parts.append("\n".join(of_device(question, name, rates, slices)))
    parts.append(
        _wrapped(f"Computed, not measured. Assumed: {'; '.join(ASSUMED)}. {LEFT_OUT.capitalize()}.")
    )
    return "\n\n".join(parts)


def sizes(rates: Rates) -> list[int]:
    """Of slices: powers of two, over which tables can be split."""
    return [2**k for k in range(int(math.log2(rates.devices)) + 1)]


def slice_of(question: Question, rates: Rates, devices: int) -> Slice:
    p, predicted = predict_large(question.dim, question.table_rows, devices, rates.platform)
    found = times.of_step(predicted, rates, devices, EXAMPLES)
    steps = math.ceil(question.rows / p.config.data.batch_size)
    fits = predicted.memory.peak <= rates.memory
    return Slice(devices, predicted, found, steps * found.step / 3600, fits)


def of_device(question: Question, name: str, rates: Rates, slices: Sequence[Slice]) -> list[str]:
    """The answer for one kind of device."""
    good = [one for one in slices if one.fits and one.hours <= question.hours]
    chosen = good[0] if good else None
    shown = _around(slices, chosen or slices[-1])
    lines = [f"{name}: {_verdict(question, rates, slices, chosen)}"]
    lines += _table([HEADER, *(_row(question, one, rates, one is chosen) for one in shown)])
    if chosen:
        lines += _told(chosen, rates)
    lines.append(_wrapped(f"Peaks: {rates.source}."))
    return lines


def _verdict(
    question: Question, rates: Rates, slices: Sequence[Slice], chosen: Slice | None
) -> str:
    if chosen:
        return f"{chosen.devices} devices are enough"
    fitting = [one for one in slices if one.fits]
    if not fitting:
        least = slices[-1].predicted.memory.peak / 1e9
        return f"no slice fits: {slices[-1].devices} devices would each hold {least:,.1f} GB"
    fastest = min(fitting, key=lambda one: one.hours)
    return (
        f"no slice is fast enough: {fastest.devices} devices take {_hours(fastest.hours)} h of "
        f"{question.hours:g}"
    )


def _around(slices: Sequence[Slice], chosen: Slice) -> Sequence[Slice]:
    """Those next to the chosen one."""
    place = slices.index(chosen)
    return slices[max(0, place - 1) : place + 3]


def _row(question: Question, one: Slice, rates: Rates, chosen: bool) -> tuple[str, ...]:
    return (
        f"{one.devices:,}",
        f"{one.predicted.memory.peak / 1e9:,.1f} GB",
        f"{one.predicted.memory.peak / rates.memory:.0%}",
        f"{1e3 * one.times.step:,.2f}",
        _hours(one.hours),
        one.times.bound,
        _remark(question, one, chosen),
    )


def _remark(question: Question, one: Slice, chosen: bool) -> str:
    if chosen:
        return "<- the smallest"
    if not one.fits:
        return "does not fit"
    return "too slow" if one.hours > question.hours else ""


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    numbers = len(widths) - 2  # the last two are words
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if place < numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def _told(one: Slice, rates: Rates) -> list[str]:
    """What a device of the chosen slice holds and does, and its checkpoints."""
    memory, found = one.predicted.memory, one.times
    gb = {
        "tables": memory.tables,
        "slots": memory.slots,
        "dense and batches": memory.dense + memory.batch,
        "a step": memory.temporaries,
    }
    held = ", ".join(f"{part} {size / 1e9:,.2f}" for part, size in gb.items())
    parts = ("compute", "memory", "network", "sorting", "latency")
    taken = ", ".join(f"{part} {1e3 * getattr(found, part):.2f}" for part in parts)
    size = times.checkpoint_bytes(one.predicted) / 1e9
    seconds = times.checkpoint_seconds(one.predicted, rates, one.devices)
    hosts = -(-one.devices // rates.host)
    return [
        _wrapped(f"A device holds, GB of {rates.memory / 1e9:,.1f}: {held}."),
        _wrapped(f"A step takes, ms: {taken}; meanwhile reading {1e3 * found.reading:.2f}."),
        _wrapped(
            f"A device sends {one.predicted.sent / 1e6:,.1f} MB a step. A checkpoint has "
            f"{size:,.0f} GB; to write or to read it takes {hosts} host"
            f"{'s' if hosts > 1 else ''} {seconds:,.0f} s."
        ),
    ]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
