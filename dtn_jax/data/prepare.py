"""A log of any size to a prepared data set: `prepare` reads like the table of contents."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import polars as pl

from dtn_jax.data import columns, encode, progress, times
from dtn_jax.data.blocks import Layout, default_layout
from dtn_jax.data.prepared import Prepared, read
from dtn_jax.data.raw import files as raw_files
from dtn_jax.data.raw import read as raw_read
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import Unit, as_type, of_kinds, read_as
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import LISTED, Spec
from dtn_jax.data.stages import fit, frames, provenance, spark, units
from dtn_jax.data.stages import split as splits
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.counts import Counts, added
from dtn_jax.data.stages.finish import finish
from dtn_jax.data.stages.limits import check_positives, check_rejects
from dtn_jax.data.stages.records import Plan, shards
from dtn_jax.data.stages.spark import SparkWork
from dtn_jax.data.stages.work import SCHEMA_FILE, VERSION, Work, database
from dtn_jax.errors import UserError, choose
from dtn_jax.files import locked, write_whole

ENGINES = ("duckdb", "spark")
MAX_REJECT_RATE = 0.001
LACKING = "no raw file has {!r}, the column of an optional field"
MEMORY_GB = 4.0
LEAST_GB = 1.05
THREAD_GB = 0.2  # of a chunk, and what is made of it
CHUNK_BYTES, LEAST_ROWS, MOST_ROWS = 48 << 20, 2048, 65_536  # of a chunk


def prepare(
    schema: str | pathlib.Path | Spec,
    input: str | Sequence[str] | object,
    data_dir: str | pathlib.Path,
    *,
    processes: int = 0,
    memory_gb: float = MEMORY_GB,
    max_reject_rate: float = MAX_REJECT_RATE,
    replace: bool = False,
    source: str = "",
    home: pathlib.Path | None = None,
    made_of: Mapping[str, Mapping] | None = None,
    extend: str | pathlib.Path = "",
    layout: Layout | None = None,
    notes: Mapping[str, Any] | None = None,
    engine: str = "duckdb",
    master: str = "",
) -> Prepared:
    """Prepares a log, or resumes where it was interrupted; a set that is there already is returned.

    The bytes of the set depend on the schema file and the raw files alone, not on the cores, the
    memory, or how often the work was interrupted.

    Args:
      schema: the schema file, or what it says.
      input: a file, glob or folder, or several of them; or a Polars, pandas or Arrow table.
      data_dir: the set will be in `data_dir/logs/NAME/1.0.0`.
      processes: how many cores work; 0 is all, as far as memory goes.
      memory_gb: gigabytes that the work may need, pages of mapped files aside.
      max_reject_rate: the share of bad rows above which nothing is written.
      replace: a set that was made from something else is moved to `data_dir/logs/NAME/replaced`.
      source: SHA-256 of the plug-in that the schema file came with.
      home: the set will be in `home/1.0.0` instead.
      made_of: what the set keeps of the raw files, as of `provenance.raw_facts`; None: the input's
        addresses, sizes and ends.
      extend: a prepared set, its folder or its name in `data_dir`, whose encoders this set takes:
        known ids keep their rows, ids that are new to it come after them, and ids that have fallen
        out keep theirs; buckets, bins, scales and hash functions are the same. The schema file has
        the same fields and tasks, and another name.
      layout: how rows lie in records; None: as `blocks.default_layout` has it for their number.
      notes: further facts for the set's notes.json, as JSON has them.
      engine: one of ENGINES: this machine alone, or a cluster that shares `data_dir` (spark.py).
      master: the address of Spark's cluster.

    Raises:
      UserError: the schema file or the raw files are wrong, too many rows are, too many positives
        lie where their task is taken not to happen, a split is empty, a set is there that was made
        from something else, or the set to extend is none or has other fields or tasks, or events
        that histories would list twice.
    """
    if not 0 <= max_reject_rate <= 1:
        raise UserError(f"--max_reject_rate={max_reject_rate:g}: expected a share, from 0 to 1")
    choose("--engine", engine, ENGINES)
    if master and engine != "spark":
        raise UserError(f"--master={master} goes with --engine=spark")
    threads = workers(processes, memory_gb)
    spec = schema if isinstance(schema, Spec) else schema_file.load(pathlib.Path(schema))
    home = home or place(spec, data_dir).parent
    older = provenance.find_older(extend, data_dir, spec, home) if extend else None
    with _disk(spec, home), _raw_log(input, spec, home) as files:
        target = home / VERSION
        prepared = read(target) if target.exists() else None
        raw = provenance.raw_facts({file.address: file.address for file in files}, prepared)
        made_from = provenance.made_from(spec, source, made_of or raw, older)
        if older:
            provenance.check_events(older, spec, raw)
        if prepared:
            changed = provenance.change(prepared, spec, made_from)
            if not changed:
                remove_unfinished(home)
                return prepared
            if not replace:
                raise UserError(
                    f"{target} was prepared from {changed}. Give --replace to prepare it again "
                    "(the old set is kept beside it), another name in the schema file, or another "
                    "--data_dir"
                )
        begun = _begun(spec, files, home, made_from, memory_gb, threads, older, engine, master)
        with begun as work:
            account, counts = clean_rows(work)
            check_rejects(spec, files, account, home, max_reject_rate)
            check_positives(spec, counts["positives"])
            cuts = cut(work)
            if older and (line := provenance.seen_again(older, spec, raw, cuts)):
                progress.say(line)
            plan = fit_rows(work, cuts, layout)
            written = write(work, cuts, plan)
            provenance.check_unchanged(raw)
            finish(work, target, made_from, plan, cuts, account, counts, written, notes or {})
        remove_unfinished(home)
    return read(target)


def place(spec: Spec, data_dir: str | pathlib.Path) -> pathlib.Path:
    """The folder of a log's prepared set."""
    root = pathlib.Path(data_dir).expanduser().absolute()
    return root / "logs" / spec.name / VERSION


def workers(processes: int, memory_gb: float) -> int:
    """How many threads work at a time; raises UserError where memory is too small for one."""
    if processes < 0:
        raise UserError(f"--processes={processes}: expected 0, for all cores, or more")
    if not LEAST_GB <= memory_gb < float("inf"):
        raise UserError(f"--memory_gb={memory_gb:g}: at least {LEAST_GB:g} are needed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(processes or cores or 1, max(1, int((memory_gb - LEAST_GB) / THREAD_GB)))


def clean_rows(work: Work) -> tuple[Account, Counts]:
    """Reads the raw rows; JSON lines are parsed first, since all lines decide a column's type.

    Returns:
      The account of bad rows, and what is counted of the others: `days` and `positives`.
    """
    texts: list[dict] = []
    if any(file.format == "jsonl" for file in work.files):
        stage = functools.partial(units.text_unit, work)
        texts = work.stage("text", "lines read", _units(work), stage, _raw_rows(work))
        known = _types_of_lines(work, texts)
        work.spec, work.types = typed(work.spec, work.files, work.units, known)
    clean = functools.partial(units.clean_unit, work, texts)
    facts = work.stage("rows", "rows cleaned", _units(work), clean, _raw_rows(work))
    account = Account()
    for unit in facts:
        account.include(Account.from_json(unit["rejects"]))
    return account, functools.reduce(added, (unit["counts"] for unit in facts))


def _types_of_lines(work: Work, texts: Sequence[dict]) -> dict[str, columns.Types]:
    """The types of the columns of JSON lines; those that have no value anywhere are not there."""
    every = {name: {k for unit in texts for k in unit["kinds"][name]} for name in texts[0]["kinds"]}
    types = {name: of_kinds(kinds) for name, kinds in every.items()}
    heads = raw_read.schemas(work.files, work.spec.input).values()
    there = [name for head in heads for name, kind in head.items() if kind != pl.Null]
    types = {name: kind for name, kind in types.items() if kind != pl.Null or name in there}
    return {work.files[0].address: dict.fromkeys(there, pl.Null()) | types}


def cut(work: Work) -> dict:
    """Where the splits are cut, where only the whole log says it; and the histories."""
    spec, cuts = work.spec, {}
    if spec.split.by == "time":
        cuts = work.once("cuts", lambda: splits.cut_times(spec.split, work.query, spec.time_unit))
        if cuts["validation"] != cuts["test"]:
            shown = {name: times.show(value, spec.time_unit) for name, value in cuts.items()}
            starts = f"validation from {shown['validation']}, test from {shown['test']}"
            progress.say(f"split by time: {starts}")
    if spec.split.by == "user_order":
        query = splits.by_user_order(spec.split)
        work.once("splits", lambda: work.join(units.USER_SPLITS, query))
    if spec.histories():
        work.once("histories", work.join_histories)
    return cuts


def fit_rows(work: Work, cuts: dict, layout: Layout | None) -> Plan:
    """Fits vocabularies, buckets and scales, and decides the layout and the shards.

    Raises:
      UserError: a split is empty.
    """
    count = functools.partial(units.count_unit, work, cuts)
    facts = work.stage("count", "values counted", _units(work), count, int(work.starts[-1]))
    counts = np.array([unit["stored"] for unit in facts], np.int64)
    rows = dict(zip(splits.SPLITS, counts.sum(axis=0).tolist(), strict=True))
    empty = [name for name, count in rows.items() if not count]
    if empty:
        raise UserError(
            f"{work.spec.path or work.spec.name}: the {empty[0]} split is empty "
            f"({', '.join(f'{n:,} {s}' for s, n in rows.items())} rows, split by "
            f"{work.spec.split.by}); change `split` in the schema file"
        )
    fitted = work.once("fit", lambda: fit.fit(work, facts))
    specs = {field.name: field for field in work.spec.fields}
    fields = encode.fitted(specs, fitted["encoders"], work.folder / "vocabulary").values()
    each = sum(f.slots * (1 + bool(f.spec.weights)) + f.numbers for f in fields)
    layout = layout or default_layout(rows["train"], 4 * (each + 3) + 5 * len(work.spec.tasks))
    return Plan(**fitted, layout=layout, counts=counts, firsts=shards(counts))


def write(work: Work, cuts: dict, plan: Plan) -> list[dict]:
    """Writes the records of all shards."""
    do = functools.partial(units.write_shard, work, cuts, plan)
    numbers = range(len(plan.firsts) - 1)
    return work.stage("write", "rows written", numbers, do, int(plan.counts.sum()))


def _units(work: Work) -> range:
    return range(len(work.units))


def _raw_rows(work: Work) -> int:
    """Rows of the raw files; 0 where that is not known before they are read."""
    rows = [unit.rows for unit in work.units]
    return sum(rows) if min(rows) >= 0 else 0


# Before the first stage: what there is to read, and where the work is kept.


@contextlib.contextmanager
def _disk(spec: Spec, home: pathlib.Path) -> Iterator[None]:
    """Turns what the file system says into a UserError: a full disk, a folder without rights."""
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise UserError(
            f"{spec.name} cannot be prepared in {home}: {error}. What is done stays done: the same "
            f"command resumes"
        ) from error


@contextlib.contextmanager
def _raw_log(input: object, spec: Spec, home: pathlib.Path) -> Iterator[list[RawFile]]:
    """The files of the log; a table in memory is written to one first."""
    if isinstance(input, str | pathlib.Path):
        input = [str(input)]
    if isinstance(input, Sequence):
        yield raw_files.find([str(part) for part in input], spec.input.format)
        return
    with frames.alone(home, spec.name), frames.written(frames.as_frame(input), home) as paths:
        yield raw_files.find(paths)


@contextlib.contextmanager
def _begun(
    spec: Spec,
    files: Sequence[RawFile],
    home: pathlib.Path,
    made_from: dict,
    memory_gb: float,
    threads: int,
    older: Prepared | None,
    engine: str,
    master: str,
) -> Iterator[Work]:
    """The work, begun or resumed as it was left.

    Raises:
      UserError: another process is at it, or a column is not as expected.
    """
    known = {name: facts for name, facts in made_from.items() if name != "raw_times"}
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
    folder = home / f"unfinished-{'spark-' * (engine == 'spark')}{key}"
    folder.mkdir(parents=True, exist_ok=True)
    lock = locked(folder / "lock")
    if lock is None:
        raise UserError(f"another process is preparing {spec.name} in {folder}")
    with lock, progress.Rows() as bars:
        units = raw_read.plan(files, spec.input, raw_read.UNIT_ROWS, raw_read.UNIT_BYTES)
        if not units:
            more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
            raise UserError(f"the raw files of {spec.name} hold no rows: {files[0].address}{more}")
        types = {}
        if files[0].format != "jsonl":  # of whose columns all lines decide the types
            used = [files[number] for number in sorted({unit.file for unit in units})]
            spec, types = typed(spec, files, units, raw_read.schemas(used, spec.input))
        progress.say(f"Preparing {spec.name} in {home}")
        write_whole(folder / SCHEMA_FILE, pathlib.Path(spec.path).read_text())
        rows = max(LEAST_ROWS, min(CHUNK_BYTES // _row_bytes(spec, types), MOST_ROWS))
        with database(folder, memory_gb, threads) as connection:
            extends = older.folder if older else None
            facts = (folder, spec, files, units, types, rows, threads, extends)
            if engine == "spark":
                with spark.session(master, spec.name) as session:
                    yield SparkWork(*facts, connection, bars, session)
            else:
                yield Work(*facts, connection, bars)


def remove_unfinished(home: pathlib.Path) -> None:
    """Removes what interrupted calls have left, also those for other files.

    What one is at work with stays.
    """
    locks = {folder: folder / "lock" for folder in home.glob("unfinished-*")}
    locks |= dict.fromkeys(home.glob(frames.FOLDER), home / frames.LOCK)
    for folder, path in locks.items():
        lock = locked(path)
        if lock is not None:
            with lock:
                shutil.rmtree(folder, ignore_errors=True)


def typed(
    spec: Spec, files: Sequence[RawFile], units: Sequence[Unit], known: Mapping[str, columns.Types]
) -> tuple[Spec, dict[str, columns.Type]]:
    """The schema with the unit of the log's times, and the types of its columns.

    Args:
      spec: the schema file.
      files, units: of the log.
      known: the types of the columns of its files, by address.

    Raises:
      UserError: a column is missing or of a wrong type.
    """
    for name in columns.may_lack(spec):
        if not any(name in types for types in known.values()):
            progress.say(LACKING.format(name))
        known = {address: {name: pl.Null()} | types for address, types in known.items()}
    unit = spec.time_unit
    there = all(types.get(spec.time, pl.Struct).is_nested() is False for types in known.values())
    if spec.time and not unit and there:
        sample = _sample(spec, files, units)
        unit = times.unit_of(sample)
        if unit in times.PER_UNIT and not times.is_date(sample.dtype):
            times.check_hours(sample)
    spec = schema_file.timed(spec, unit)
    for address, types in known.items():
        columns.check(spec, address, types)
        if unit:
            try:
                times.to_time(pl.Series(spec.time, [], dtype=types[spec.time]), unit)
            except UserError as error:
                raise UserError(f"{address}: the time column {spec.time!r}: {error}") from None
    names = columns.columns(spec)
    types = dict.fromkeys(names, pl.Null()) | columns.types_of(known.values(), names)
    return spec, columns.as_read(spec, types)


def _sample(spec: Spec, files: Sequence[RawFile], units: Sequence[Unit]) -> pl.Series:
    """The times of the first rows of the log that have one."""
    column = pl.Series(spec.time, [])
    for unit in units:
        for chunk in raw_read.chunks(files[unit.file], unit, [spec.time], spec.input):
            if len(chunk.frame):
                column = as_type(chunk.frame[spec.time], read_as(chunk.frame[spec.time].dtype))
            if column.count():
                return column
    return column


def _row_bytes(spec: Spec, types: columns.Types) -> int:
    """What a row takes in memory, roughly."""
    longest = max((f.length or f.max_values for f in spec.fields if f.kind in LISTED), default=1)
    names, lists = columns.columns(spec), columns.lists(spec)
    of = {name: 64 if types.get(name) == pl.String else 16 for name in names}
    return sum((of | dict.fromkeys(lists, 24 * longest)).values())
