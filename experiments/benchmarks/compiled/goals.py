"""What is wanted of compiled programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from experiments.benchmarks.compiled.cells import Cell
from experiments.benchmarks.compiled.topologies import CHIPS
from experiments.benchmarks.measured import Cell as Content
from experiments.benchmarks.measured import Goal

Row = Mapping[str, Content]
ROOM = 1.25  # peak over held: of the row update alone, and of 10^9 rows, E = 64, lazy Adam
V5E_PEAK = 15_000  # MB, of the row update of 10^9 rows with lazy Adam on 64 chips
STORED = 1.02  # bytes of tables and slots over those of their numbers
HELD_ERROR, CARRIED_ERROR = 0.01, 0.02  # of the plan
PLAN = 1, 1.3  # of the peak
FEWEST = 8  # devices, with which more are compared
GROWTH = {256: 1.75, 1024: 2.6}  # padded bytes that a device exchanges over those of FEWEST
MANY = 64  # devices, from which on no collective may be as large as the batch's rows
LARGE = 10**9  # rows
PLATFORMS = {"tpu": "TPUs", "cuda": "H100s"}


def goals(cells: Sequence[Cell], rows: Sequence[Row]) -> list[Goal]:
    """Goals of the cells that are there: sums and extremes over them, or one's own."""
    found = [at_most("programs that do not compile or fit their chip", 0, map(misfit, rows))]
    found += [
        at_most(f"{name}, of all programs", 0, figures(rows, name))
        for name in ("f64", "host calls")
    ]
    for platform, devices in PLATFORMS.items():
        here = [(c, r) for c, r in zip(cells, rows) if CHIPS[c.chip].platform == platform]
        found += of_platform(devices, here)
    stored = figures(rows, "stored over logical")
    found.append(
        at_most("tables and slots as stored over their numbers, largest", STORED, stored, max)
    )
    found += of_plan(rows)
    found += of_exchange(cells, rows)
    found += [of_update(c, r) for c, r in zip(cells, rows) if c.kind == "update"]
    found += [
        at_most(f"{c.name}: peak over held", ROOM, figures([r], "peak over held"))
        for c, r in zip(cells, rows)
        if (c.kind, c.rows, c.dim, c.optimizer) == ("train", LARGE, 64, "adam")
    ]
    return [goal for goal in found if goal]


def of_plan(rows: Sequence[Row]) -> list[Goal | None]:
    found = []
    for part, most in (("held", HELD_ERROR), ("carried", CARRIED_ERROR)):
        off = [abs(x - 1) for x in figures(rows, f"{part} over plan")]
        found.append(at_most(f"{part}, compiled over plan: largest error", most, off, max))
    planned = figures(rows, "plan over peak")
    if planned:
        least, most = PLAN
        found.append(Goal("planned over compiled peak: smallest", least, min(planned)))
        found.append(at_most("planned over compiled peak: largest", most, planned, max))
    return found


def of_exchange(cells: Sequence[Cell], rows: Sequence[Row]) -> list[Goal | None]:
    """That what a device exchanges and sorts does not grow with the devices."""
    large = [r for r in rows if (r["devices"] or 0) >= MANY]
    gpus = [r for c, r in zip(cells, rows) if CHIPS[c.chip].platform == "cuda"]
    beside = figures(gpus, "beside next ids")
    found = [
        Goal("H100s: operations beside the next batch's ids, fewest", 1, min(beside))
        if beside
        else None,
        at_most(
            f"largest collective over the batch's rows, from {MANY} devices on",
            1,
            figures(large, "largest over batch"),
            max,
        ),
        at_most(
            "longest sort over what a device receives",
            1,
            figures(rows, "longest sort over received"),
            max,
        ),
    ]
    alike: dict[Cell, dict[int, float | None]] = {}
    for cell, row in zip(cells, rows):
        of_any_size = dataclasses.replace(cell, topology=cell.chip)
        alike.setdefault(of_any_size, {})[row["devices"]] = row["padded MB a step"]
    for cell, sizes in alike.items():
        for devices, most in GROWTH.items():
            few, many = sizes.get(FEWEST), sizes.get(devices)
            if few and many:
                name = f"{cell.name}: padded bytes a device, {devices} devices over {FEWEST}"
                found.append(Goal(name, most, many / few, False))
    return found


def of_platform(devices: str, here: Sequence[tuple[Cell, Row]]) -> list[Goal | None]:
    run = [r for c, r in here if c.kind != "create"]
    stepped = [r for c, r in here if c.kind in ("train", "update")]
    created = [r for c, r in here if c.kind == "create"]

    def total(rows: Sequence[Row], *columns: str) -> list[float]:
        return [x for column in columns for x in figures(rows, column)]

    return [
        at_most(
            f"{devices}, training and scoring: whole tables copied",
            0,
            total(run, "copies a step", "copies a chunk"),
        ),
        at_most(
            f"{devices}, training and scoring: short tables copied",
            0,
            total(run, "short copies a step", "short copies a chunk"),
        ),
        at_most(
            f"{devices}, training and scoring: passes over whole tables",
            0,
            total(run, "passes a step", "passes a chunk"),
        ),
        at_most(
            f"{devices}, initialisation: whole tables copied", 0, total(created, "copies a step")
        ),
        at_most(
            f"{devices}, training: scatters of repeated rows",
            0,
            total(stepped, "repeated scatters"),
        ),
    ]


def of_update(cell: Cell, row: Row) -> Goal | None:
    """Of the row update alone: how much room it takes beside what is held."""
    if cell.chip != "v5e":
        return at_most(f"{cell.name}: peak over held", ROOM, figures([row], "peak over held"))
    if cell.optimizer == "adam":
        return at_most(f"{cell.name}: peak MB", V5E_PEAK, figures([row], "peak MB"))
    return at_most(f"{cell.name}: peak, of its memory", 1, figures([row], "of its memory"))


def misfit(row: Row) -> bool:
    return bool(row["error"]) or row["of its memory"] > 1


def figures(rows: Iterable[Row], column: str) -> list[float]:
    """A column without the cells that it has no figure for."""
    return [row[column] for row in rows if row[column] is not None]


def at_most(
    name: str, wanted: float, got: Iterable[float], over: Callable[[list[float]], float] = sum
) -> Goal | None:
    """None where there is no figure."""
    got = list(got)
    return Goal(name, wanted, over(got), False) if got else None
