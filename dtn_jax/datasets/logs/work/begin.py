"""Before the first pass: what there is to read, who reads it, and where the work is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.raw import files as raw_files
from dtn_jax.datasets.logs.raw import read as raw_read
from dtn_jax.datasets.logs.raw import units as raw_units
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.unit import Types
from dtn_jax.datasets.logs.rows import columns as schema_columns
from dtn_jax.datasets.logs.rows.checker import columns
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.schema.spec import LISTED, Spec
from dtn_jax.datasets.logs.work import table_file
from dtn_jax.datasets.logs.work.machines import Machine, Machines
from dtn_jax.datasets.logs.work.pool import Pool
from dtn_jax.datasets.logs.work.team import BASE_GB, Team, few_processes, workers
from dtn_jax.datasets.logs.work_folder import SCHEMA_FILE, TOO_MANY_OPEN, Work, load
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError
from dtn_jax.shared_files import locked, write_whole

CHUNK_BYTES, LEAST_ROWS, MOST_ROWS = 48 << 20, 2048, 65_536  # of a chunk


@contextlib.contextmanager
def told(spec: Spec, home: pathlib.Path) -> Iterator[None]:
    """Turns what the file system says into a UserError: a full disk, a folder without rights."""
    try:
        yield
    except OSError as error:
        if error.errno in TOO_MANY_OPEN:
            raise UserError(
                f"{spec.name} cannot be prepared in {home}: {error}. What is done stays done: the "
                "same command resumes where more files may be open (`ulimit -n 4096`)"
            ) from error
        raise UserError(
            f"{spec.name} cannot be prepared in {home}: {error}. What is done stays done: the same "
            "command resumes"
        ) from error


@contextlib.contextmanager
def raw_log(input: object, spec: Spec, home: pathlib.Path) -> Iterator[list[RawFile]]:
    """The files of the log; a table in memory is written to one first."""
    if isinstance(input, str | pathlib.Path):
        input = [str(input)]
    if isinstance(input, Sequence):
        yield raw_files.find([str(part) for part in input], spec.input.format)
        return
    with table_file.written(input, home) as path:
        yield raw_files.find([str(path)])


@contextlib.contextmanager
def begun(
    spec: Spec,
    files: Sequence[RawFile],
    home: pathlib.Path,
    made_from: dict,
    machine: Machine,
    memory_gb: float,
    processes: int,
    beam: str,
    extends: pathlib.Path | None,
) -> Iterator[tuple[Work, Team]]:
    """The work, begun or found as it was left, and who does it; removed when it is done.

    Raises:
      UserError: memory is too small, another process is at it, or a column is not as expected.
    """
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:12]
    folder = home / f"unfinished-{key}"
    with progress.Rows() as bars, Pool(workers(processes, memory_gb)) as pool:
        team = Team(Machines(*machine, folder), pool, bars, beam)
        memory = int((memory_gb - BASE_GB) * 2**30 / pool.processes)
        folder.mkdir(parents=True, exist_ok=True)
        lock = locked(folder / f"lock.{machine[0]}")
        if lock is None:
            raise UserError(f"another process is preparing {spec.name} in {folder}")
        with lock, team.machines.at_work():
            team.first_alone(
                lambda: plan(folder, spec, files, memory, extends), folder / "plan.json"
            )
            progress.say(f"Preparing {spec.name} in {home}")
            job = load(folder, memory)
            if team.is_first:  # of the same meaning; what has none may have changed
                write_whole(folder / SCHEMA_FILE, pathlib.Path(spec.path).read_text())
            if not beam and (line := few_processes(job, processes, memory_gb)):
                progress.say(line)
            yield job, team
        if team.is_first:
            remove_unfinished(home, seconds=10.0 if team.machines.count > 1 else 0.0)


def remove_unfinished(home: pathlib.Path, seconds: float = 0.0) -> None:
    """Removes what interrupted calls have left, also those for other files.

    What one is at work with stays; `seconds` is how long to wait for that one to end.
    """
    table_file.remove_left(home)
    end = time.monotonic() + seconds
    for folder in home.glob("unfinished-*"):
        while not _removed(folder) and time.monotonic() < end:
            time.sleep(0.1)


def _removed(folder: pathlib.Path) -> bool:
    with contextlib.ExitStack() as held:
        locks = [locked(path) for path in folder.glob("lock.*")]
        for lock in filter(None, locks):
            held.enter_context(lock)
        if None not in locks:
            shutil.rmtree(folder, ignore_errors=True)
        return None not in locks


def plan(
    folder: pathlib.Path,
    spec: Spec,
    files: Sequence[RawFile],
    memory: int,
    extends: pathlib.Path | None,
) -> None:
    """Looks at the raw files' columns, cuts them into units, and saves both."""
    units = raw_units.plan(files, spec.input, raw_units.ROWS, raw_units.BYTES)
    if not units:
        more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
        raise UserError(f"the raw files of {spec.name} hold no rows: {files[0].address}{more}")
    read = [files[number] for number in sorted({unit.file for unit in units})]
    known = raw_read.schemas(read, spec.input)
    for name in schema_columns.may_lack(spec):
        if not any(name in types for types in known.values()):
            progress.say(f"no raw file has {name!r}, the column of an optional field")
        known = {address: {name: pl.Null()} | types for address, types in known.items()}
    lines = [file.address for file in read if file.format == "jsonl"]
    unit = spec.time_unit
    if spec.time and not unit and all(is_single(types.get(spec.time)) for types in known.values()):
        first = sample(files, units, spec)
        try:
            unit = times.unit_of(first)
        except UserError:
            schema_columns.check(spec, known, lines)  # where it can, it says more
            raise
    schema_columns.check(schema_file.timed(spec, unit), known, lines)
    if spec.time:
        check_times(spec, known, unit)
    types = known[read[0].address]
    size = sum(_bytes(types[name], spec) for name in columns(spec))
    rows = max(LEAST_ROWS, min(CHUNK_BYTES // max(size, 1), MOST_ROWS))
    shutil.copy(spec.path, folder / SCHEMA_FILE)
    Work(folder, spec, files, units, unit, rows, memory, extends).save()


def is_single(dtype: object) -> bool:
    """Whether a column is there and holds single values."""
    return dtype is not None and not dtype.is_nested()


def check_times(spec: Spec, known: Mapping[str, Types], unit: str) -> None:
    """Raises UserError where a file's time column is of a type that does not go with the unit."""
    for address, types in known.items():
        try:
            times.to_time(pl.Series(spec.time, [], dtype=types[spec.time]), unit)
        except UserError as error:
            raise UserError(f"{address}: the time column {spec.time!r}: {error}") from None


def sample(files: Sequence[RawFile], units: Sequence, spec: Spec) -> pl.Series:
    """The times of the first rows of the log that have one."""
    found = None
    for unit in units:
        for chunk in raw_read.chunks(files[unit.file], unit, [spec.time], spec.input):
            if len(chunk.frame):
                found = chunk.frame[spec.time]
                if found.count():
                    return found
    if found is not None:
        return found
    raise UserError(f"the raw files of {spec.name} hold no rows")


def _bytes(dtype: object, spec: Spec) -> int:
    """What a value takes in memory, roughly."""
    if dtype == pl.List:
        longest = [f.length or f.max_values for f in spec.fields if f.kind in LISTED]
        return 24 * max(longest, default=1)
    return 64 if dtype == pl.String else 16
