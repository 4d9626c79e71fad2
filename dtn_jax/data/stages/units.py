"""The stages of preparing a log: what is done of each of its units, and what follows from all."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import columns, encode, rows
from dtn_jax.data.cast import typed
from dtn_jax.data.clean import Bad, good_rows
from dtn_jax.data.raw import read
from dtn_jax.data.raw.types import Chunk
from dtn_jax.data.rows import Rows
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages import histories, split
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.counts import added, by_day, outside
from dtn_jax.data.stages.fit import Counts
from dtn_jax.data.stages.histories import EVENTS
from dtn_jax.data.stages.records import Plan, Writer
from dtn_jax.data.stages.split import ORDER, SPLITS, TIMES, SplitRows, split_rows
from dtn_jax.data.stages.work import Work, new_file
from dtn_jax.data.vocabulary import FOLDER

Stage = tuple[dict, dict[str, pa.Table]]  # a unit's facts, and rows for tables of the database
HASHES, USER_SPLITS = "hashes", "user_splits"  # tables: of what is written; by the order of users


def clean_unit(work: Work, texts: Sequence[dict], unit: int) -> Stage:
    """Reads a unit's raw rows, and writes the clean ones; `texts` are the facts of `text_unit`.

    In a set that extends another, the first unit has the events that the other one has kept, too.
    """
    spec, file = work.spec, work.files[work.units[unit].file]
    account = Account.from_json(texts[unit]["rejects"]) if texts else Account()
    specs = {field.name: field for field in spec.fields}
    count, tables, counts = 0, collections.defaultdict(list), {}
    if unit == 0 and work.extends and spec.histories():
        tables[EVENTS].append(histories.older_events(spec, work.extends))
    with new_file(work.rows_path(unit)) as path, pa.OSFile(str(path), "wb") as out:
        for chunk in _chunks(work, unit):
            bad = Bad(chunk.numbers, file.address, account)
            bad.broken(chunk.broken)
            raw = [typed(chunk.frame[name], kind, bad) for name, kind in work.types.items()]
            clean = good_rows(spec, pl.DataFrame(raw), bad)
            days, positives = by_day(spec, work.dated, clean), outside(spec, clean)
            counts = added(counts, {"days": days, "positives": positives})
            for name, table in _of_all(spec, clean, unit, count).items():
                tables[name].append(table)
            _write(out, encode.with_crosses(specs, clean).batch)
            count += len(clean)
    facts = {"rows": account.rows, "clean": count, "counts": counts, "rejects": account.to_json()}
    return facts, {name: pa.concat_tables(parts) for name, parts in tables.items()}


def _of_all(spec: Spec, part: Rows, unit: int, first: int) -> dict[str, pa.Table]:
    """What follows from all rows is made of: times, users, and the events of histories.

    Args:
      spec: the schema file.
      part: rows of a unit.
      unit: which.
      first: the place there of the first of the rows.
    """
    tables = {}
    if spec.split.by == "time":
        counted = np.unique(part.numbers(rows.TIME), return_counts=True)
        tables[TIMES] = pa.table([*counted], names=["time", "n"])
    if spec.split.by == "user_order":
        user, time = part.keys(rows.GROUP), part.numbers(rows.TIME)
        where = np.full(len(part), unit, np.int32), np.arange(first, first + len(part))
        tables[ORDER] = pa.table([user, time, *where], names=["user", "time", "unit", "place"])
    if spec.histories():
        tables[EVENTS] = histories.events(spec, part, unit, first)
    return tables


def text_unit(work: Work, unit: int) -> Stage:
    """Writes the values of a unit's JSON lines, and finds what kinds they are of."""
    file, wanted = work.files[work.units[unit].file], columns.columns(work.spec)
    kinds: dict[str, set[str]] = {name: set() for name in wanted}
    account, count = Account(), 0
    with new_file(_text_path(work, unit)) as path, pa.OSFile(str(path), "wb") as out:
        given = (file, work.units[unit], wanted, work.spec.input, work.chunk_rows)
        for chunk in read.chunks(*given, lists=columns.lists(work.spec)):
            account.broken(file.address, chunk.broken)
            for name in wanted:  # what a file's path gives is text
                kinds[name] |= chunk.kinds.get(name, {"text"})
            text = chunk.frame.with_columns(pl.Series(_NUMBER, chunk.numbers, pl.Int64))
            text = text.filter(~text[_NUMBER].is_in([reject.row for reject in chunk.broken]))
            if not len(text):
                continue
            _write(out, text.to_arrow().combine_chunks().to_batches()[0])
            count += len(text)
    every = {name: sorted(some) for name, some in kinds.items()}
    return {"rows": count + account.rows, "kinds": every, "rejects": account.to_json()}, {}


_NUMBER = "\1row"  # the column of the lines' numbers


def _text_path(work: Work, unit: int) -> pathlib.Path:
    return work.folder / "text" / f"{unit:05d}.arrows"


def _chunks(work: Work, unit: int) -> Iterator[Chunk]:
    """The raw rows of a unit; of JSON lines those that were staged."""
    spec, file = work.spec, work.files[work.units[unit].file]
    if file.format != "jsonl":
        given = (file, work.units[unit], columns.columns(spec), spec.input, work.chunk_rows)
        yield from read.chunks(*given)
        return
    for batch in _batches(_text_path(work, unit)):
        frame = pl.from_arrow(batch)
        yield Chunk(frame.drop(_NUMBER), frame[_NUMBER].to_numpy(), [])


def _write(out: pa.NativeFile, batch: pa.RecordBatch) -> None:
    """Adds a stream of one batch, which has types of its own."""
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)


def _batches(path: pathlib.Path) -> Iterator[pa.RecordBatch]:
    """The batches of a file of streams, one after another."""
    if path.stat().st_size:
        with pa.memory_map(str(path)) as source:
            while source.tell() < source.size():
                yield from pa.ipc.open_stream(source)


def clean_rows(work: Work, unit: int) -> Iterator[Rows]:
    """The clean rows of a unit, chunk by chunk."""
    for batch in _batches(work.rows_path(unit)):
        yield Rows(batch)


def split_unit(work: Work, cuts: dict, unit: int) -> Iterator[SplitRows]:
    """The clean rows of a unit with their histories and splits, down-sampled."""
    spec, file, start = work.spec, work.units[unit].file, 0
    if work.starts[unit] == work.starts[unit + 1]:
        return
    lists = work.lists(unit) if spec.histories() else None
    order = work.of_unit(USER_SPLITS, unit)["split"] if spec.split.by == "user_order" else None
    for part in clean_rows(work, unit):
        place = slice(start, start := start + len(part))
        if lists is not None:
            part = histories.with_lists(spec, work.dated, part, lists, place)
        if order is not None:
            places = order[place].astype(np.int8)
        else:
            places = split.assign(spec, cuts, file, part)
        yield split_rows(spec, file, part, places)


def count_unit(work: Work, cuts: dict, unit: int) -> Stage:
    """Counts a unit's rows by split, and the values of train."""
    stored, counts = np.zeros(len(SPLITS), np.int64), Counts(work.spec)
    for part, places in split_unit(work, cuts, unit):
        stored += np.bincount(places, minlength=len(SPLITS))
        counts.add(part, places)
    facts, tables = counts.result()
    return facts | {"stored": stored.tolist(), "rows": int(stored.sum())}, tables


def write_shard(work: Work, cuts: dict, plan: Plan, shard: int) -> Stage:
    """Encodes the rows of a shard and writes its records."""
    specs = {field.name: field for field in work.spec.fields}
    fitted = encode.fitted(specs, plan.encoders, work.folder / FOLDER)
    folder = work.folder / "set"
    rows, parts = sum(plan.rows.values()), plan.parts(shard)
    writer = Writer(work.spec, fitted, work.dated, folder, shard, parts, rows)
    units = range(plan.firsts[shard], plan.firsts[shard + 1])
    for unit in range(plan.firsts[shard], len(work.units)):
        wanted = writer.wanted()
        if not any(wanted):
            break
        counts = plan.counts[unit]
        if unit not in units and not any(n and c for n, c in zip(wanted, counts)):
            continue
        for part in split_unit(work, cuts, unit):
            writer.add(*part)
            if unit not in units and not any(writer.wanted()):
                break
    facts = {"hashes": writer.close(), "rows": int(plan.counts[units.start : units.stop].sum())}
    tables = {HASHES: pa.concat_tables(writer.hashes)} if writer.hashes else {}
    return facts | {"values": writer.counts}, tables
