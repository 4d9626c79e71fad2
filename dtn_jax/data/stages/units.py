"""The stages of preparing a log: what is done of each of its units, and what follows from all."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import columns, encode, rows
from dtn_jax.data.blocks import Layout
from dtn_jax.data.clean import Cleaner
from dtn_jax.data.raw import read
from dtn_jax.data.raw.types import Chunk
from dtn_jax.data.rows import Rows
from dtn_jax.data.stages import histories, records, split
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.counts import added, by_day, outside
from dtn_jax.data.stages.fit import Counts
from dtn_jax.data.stages.records import Writer
from dtn_jax.data.stages.split import SPLITS, SplitRows, split_rows
from dtn_jax.data.stages.work import Work, new_file
from dtn_jax.data.vocabulary import FOLDER
from dtn_jax.errors import UserError

Stage = tuple[dict, dict[str, pa.Table]]  # a unit's facts, and rows for tables of the database
# Such tables: rows by time, users and times of all rows, and hashes of what is written.
TIMES, ORDER, HASHES = "times", "order", "hashes"
SPLIT_FILE = "split.npy"


def clean_unit(work: Work, texts: Sequence[dict], unit: int) -> Stage:
    """Reads a unit's raw rows, and writes the clean ones; `texts` are the facts of `text_unit`."""
    spec, file = work.spec, work.files[work.units[unit].file]
    account = Account.from_json(texts[unit]["rejects"]) if texts else Account()
    cleaner = Cleaner(spec, work.time_unit, account)
    specs = {field.name: field for field in spec.fields}
    by_time = work.spec.split.by == "time"
    count, times, days, positives, writer = 0, [], {}, {}, None
    with new_file(work.rows_path(unit)) as path, pa.OSFile(str(path), "wb") as out:
        for chunk in _chunks(work, unit):
            account.broken(file.address, chunk.broken)
            frame = columns.cast(chunk.frame, work.types)
            clean = cleaner.rows(file.address, frame, chunk.numbers)
            days = added(days, by_day(spec, work.dated, clean))
            positives = added(positives, outside(spec, clean))
            if by_time:
                times.append(np.unique(clean.numbers(rows.TIME), return_counts=True))
            clean = encode.with_crosses(specs, clean)
            writer = writer or pa.ipc.new_stream(out, clean.batch.schema)
            writer.write_batch(clean.batch)
            count += len(clean)
        if writer:
            writer.close()
    facts = {
        "rows": account.rows,
        "clean": count,
        "rejects": account.to_json(),
        "days": days,
        "positives": positives,
    }
    if not times:
        return facts, {}
    joined = [np.concatenate(part) for part in zip(*times)]
    return facts, {TIMES: pa.table(joined, names=["time", "n"])}


def text_unit(work: Work, unit: int) -> Stage:
    """Writes the values of a unit's JSON lines, and finds what kinds they are of."""
    file, wanted = work.files[work.units[unit].file], columns.columns(work.spec)
    kinds: dict[str, set[str]] = {name: set() for name in wanted}
    account, count, writer, types = Account(), 0, None, None
    with new_file(_text_path(work, unit)) as path, pa.OSFile(str(path), "wb") as out:
        given = (file, work.units[unit], wanted, work.spec.input, work.chunk_rows)
        for chunk in read.chunks(*given, may_lack=wanted, lists=columns.lists(work.spec)):
            account.broken(file.address, chunk.broken)
            for name in wanted:  # what a file's path gives is text
                kinds[name] |= chunk.kinds.get(name, {"text"})
            if not len(chunk.frame):
                continue
            text = chunk.frame.with_columns(pl.Series(_NUMBER, chunk.numbers, pl.Int64))
            batch = text.to_arrow().combine_chunks().to_batches()[0]
            if batch.schema != types:  # a chunk's values decide its types
                if writer:
                    writer.close()
                types = batch.schema
                writer = pa.ipc.new_stream(out, types)
            writer.write_batch(batch)
            count += len(text)
        if writer:
            writer.close()
    found = {name: sorted(some) for name, some in kinds.items()}
    return {"rows": count + account.rows, "kinds": found, "rejects": account.to_json()}, {}


_NUMBER = "\1row"  # the column of the lines' numbers


def _text_path(work: Work, unit: int) -> pathlib.Path:
    return work.folder / "text" / f"{unit:05d}.arrows"


def _chunks(work: Work, unit: int) -> Iterator[Chunk]:
    """The raw rows of a unit; of JSON lines those that were staged."""
    spec, file = work.spec, work.files[work.units[unit].file]
    if file.format != "jsonl":
        wanted, lacking = columns.columns(spec), columns.may_lack(spec)
        yield from read.chunks(file, work.units[unit], wanted, spec.input, work.chunk_rows, lacking)
        return
    for batch in _batches(_text_path(work, unit)):
        frame = pl.from_arrow(batch)
        yield Chunk(frame.drop(_NUMBER), frame[_NUMBER].to_numpy(), [])


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


def order_unit(work: Work, unit: int) -> Stage:
    """Collects the users and times of a unit's rows, and the events of their histories."""
    place, added, count = int(work.starts[unit]), {}, 0
    for part in clean_rows(work, unit):
        if work.spec.split.by == "user_order":
            columns = [part.keys(rows.GROUP), part.numbers(rows.TIME)]
            columns.append(np.arange(place, place + len(part)))
            order = pa.table(columns, names=["user", "time", "place"])
            added.setdefault(ORDER, []).append(order)
        if work.spec.histories():
            events = histories.events(work.spec, part, place)
            added.setdefault(histories.EVENTS, []).append(events)
        place += len(part)
        count += len(part)
    tables = {name: pa.concat_tables(parts) for name, parts in added.items()}
    return {"rows": count}, tables


def order_splits(work: Work) -> dict:
    """Writes the split of each row, by the order of its user's rows."""
    wanted, count = work.spec.split, int(work.starts[-1])
    with new_file(work.folder / SPLIT_FILE) as path:
        places = np.lib.format.open_memmap(path, "w+", np.int8, (count,))
        frames = split.by_user(work.database, ORDER)
        for frame in work.bars.count(frames, "order of users' rows", count):
            found = split.of_sorted(frame["user"].to_numpy(), wanted.validation, wanted.test)
            places[frame["place"].to_numpy()] = found
        places.flush()
    return {}


class Splits:
    """Clean rows with their histories and splits, down-sampled.

    Attributes:
      work: the log, whose splits are cut and whose histories are built.
    """

    def __init__(self, work: Work, cuts: dict):
        self.work, self.cuts = work, cuts

    def rows(self, unit: int) -> Iterator[SplitRows]:
        work, spec, file = self.work, self.work.spec, self.work.units[unit].file
        if work.starts[unit] == work.starts[unit + 1]:
            return
        folder, place = work.joined(unit)
        lists = histories.Histories(spec, work.dated, folder) if spec.histories() else None
        by_order = spec.split.by == "user_order"
        order = np.load(folder / SPLIT_FILE, mmap_mode="r") if by_order else None
        for part in clean_rows(work, unit):
            count = len(part)
            if lists is not None:
                part = lists.of(part, place)
            if order is not None:
                places = np.asarray(order[place : place + count])
            else:
                places = split.assign(spec, self.cuts, file, part)
            place += count
            yield split_rows(spec, file, part, places)


def count_unit(work: Work, splits: Splits, unit: int) -> Stage:
    """Counts a unit's rows by split, and the values of train."""
    stored, every = (np.zeros(len(SPLITS), np.int64) for _ in range(2))
    counts = Counts(work.spec)
    for part in splits.rows(unit):
        stored += np.bincount(part.split, minlength=len(SPLITS))
        every += np.bincount(part.every, minlength=len(SPLITS))
        counts.add(part)
    facts, tables = counts.result()
    by_split = {"stored": stored.tolist(), "every": every.tolist()}
    return facts | by_split | {"rows": int(every.sum())}, tables


@dataclasses.dataclass
class Plan:
    """What is written of a log.

    Attributes:
      encoders: {field: what was fitted, as of `Fitted.to_json`}.
      layout: of the records.
      counts: rows of each unit and split.
      firsts: the first unit of each shard, and at the end the number of units.
    """

    encoders: dict[str, dict]
    layout: Layout
    counts: np.ndarray
    firsts: list[int]

    @property
    def rows(self) -> dict[str, int]:
        return dict(zip(SPLITS, self.counts.sum(axis=0).tolist(), strict=True))

    def parts(self, shard: int) -> dict[str, records.Part]:
        return records.parts(self.layout, self.counts, self.firsts, shard)

    def shard_rows(self, shard: int) -> int:
        """Rows of a shard's units."""
        return int(self.counts[self.firsts[shard] : self.firsts[shard + 1]].sum())


def write_shard(work: Work, splits: Splits, plan: Plan, shard: int) -> Stage:
    """Encodes the rows of a shard and writes its records."""
    specs = {field.name: field for field in work.spec.fields}
    fitted = encode.fitted(specs, plan.encoders, work.folder / FOLDER)
    folder = work.folder / "set"
    rows, parts = sum(plan.rows.values()), plan.parts(shard)
    writer = Writer(work.spec, fitted, work.dated, folder, parts, rows)
    own = range(plan.firsts[shard], plan.firsts[shard + 1])
    for unit in range(plan.firsts[shard], len(work.units)):
        wanted = writer.wanted()
        if not any(wanted):
            break
        counts = plan.counts[unit]
        if unit not in own and not any(n and c for n, c in zip(wanted, counts, strict=True)):
            continue
        for part in splits.rows(unit):
            writer.add(part.rows, part.split)
            if unit not in own and not any(writer.wanted()):
                break
    if any(writer.wanted()):
        raise UserError(f"{work.folder} is damaged: delete it, and run the same command again")
    facts = {"written": writer.close(), "rows": plan.shard_rows(shard)}
    hashes = writer.hash_table()
    tables = {} if hashes is None else {HASHES: hashes}
    return facts | {"values": writer.counts}, tables
