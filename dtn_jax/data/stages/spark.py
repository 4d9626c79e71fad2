"""`prepare` on Spark, for a log that no machine can hold.

The stages are those of one machine, and so are their functions: a unit is a task, and an executor
calls `units.clean_unit`, `count_unit` or `write_shard` for it. The work folder lies where the
driver and all executors see it, by the same path:

    rows/00012.arrows           the clean rows of unit 12, as on one machine
    tables/ids_0/00012.parquet  what it adds to a table
    facts/count/00012.json      its facts; once they are there, the unit is done
    gathered/ids_0/             a table whose equal values Spark has summed, for the driver's DuckDB
    joined/00012/               the split of each row by the order of users; what its histories list

The driver makes cuts, vocabularies and buckets of the gathered tables, by the code of one machine.
What needs all rows of a user is a join: Spark brings them together, sorted, and takes what follows
from them back to the units of the rows. So the set has the bytes that it has of one machine.

Spark has no unsigned numbers: keys have another first bit there, and are in the same order.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.data import keys
from dtn_jax.data.rows import lengths, places
from dtn_jax.data.stages import fit, histories, units
from dtn_jax.data.stages.split import of_sorted, together
from dtn_jax.data.stages.work import Do, Work, new_file
from dtn_jax.errors import UserError
from dtn_jax.shared_files import write_whole

Session, Frame = Any, Any  # PySpark's
Batches = Iterable[pa.RecordBatch]
TABLES, FACTS, GATHERED, JOINED = "tables", "facts", "gathered", "joined"  # folders of the work
SUMMED = {"count": ("ids", "numbers"), "write": (units.HASHES,)}  # tables of stages
TRIES = 4  # of a task, as Spark has them on a cluster
JOIN_ROWS = 2_000_000  # that a task of a join sorts, roughly
PART = ".events"  # of the users of a task
POLL_SECONDS = 0.5
WITHIN = 33  # bits of monotonically_increasing_id within a partition
SIGN = np.uint64(1 << 63)
NO_JAVA = (
    "--engine=spark needs Java 17 or newer, and finds none on PATH or in JAVA_HOME; a JRE is "
    "enough (Debian, Ubuntu: apt install openjdk-17-jre-headless)"
)
NO_PYSPARK = "--engine=spark needs PySpark: pip install 'dtn_jax[spark]', or make spark in a clone"
NO_MASTER = (
    "--engine=spark needs --master=URL: spark://HOST:7077, yarn or k8s://…; local[2] tries it here"
)


@contextlib.contextmanager
def session(master: str, name: str) -> Iterator[Session]:
    """A session of Spark, the active one if there is one; what Spark raises becomes a UserError.

    Args:
      master: the address of the cluster.
      name: of what is prepared.

    Raises:
      UserError: no master is given, PySpark or Java is not installed, or Spark has given up.
    """
    if not master:
        raise UserError(NO_MASTER)
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise UserError(NO_PYSPARK) from None
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise UserError(NO_JAVA)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    active = SparkSession.getActiveSession()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX warns of forks; this one becomes Java
            begun = active or _builder(SparkSession, master, name).getOrCreate()
        begun.sparkContext.setLogLevel("FATAL")  # errors are told below
        yield begun
    except (PySparkException, Py4JError) as error:
        raise UserError(_reason(error)) from error
    finally:
        if not active and (begun := SparkSession.getActiveSession()):
            begun.stop()


def _builder(spark: Any, master: str, name: str) -> Any:
    master = re.sub(r"^(local\[[^,]+)\]$", rf"\1,{TRIES}]", master)  # where a task has one try
    settings = {
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
        "spark.executorEnv.POLARS_MAX_THREADS": "1",  # a task has a core
    }
    return spark.builder.master(master).appName(f"dtn-jax prepare: {name}").config(map=settings)


def _reason(error: Exception) -> str:
    """What Spark has given up for: of a UserError of an executor, the same."""
    java = getattr(error, "java_exception", None)
    text = java.getMessage() if java is not None else str(error)
    own = f"{UserError.__module__}.{UserError.__qualname__}: "
    if own in text:
        return text.rpartition(own)[2].strip()
    lines = text.strip().splitlines() or [type(error).__name__]
    line = (lines[-1] if "Traceback" in text else lines[0]).rstrip(". ")
    return f"Spark has given up: {line}. What is done stays done: the same command resumes"


@dataclasses.dataclass
class SparkWork(Work):
    """A log that is being prepared on Spark; to executors it goes without its open parts."""

    session: Session

    def __getstate__(self) -> dict:
        return self.__dict__ | dict.fromkeys(("database", "bars", "session"))

    def stage(self, stage: str, *args) -> list[dict]:
        facts = super().stage(stage, *args)
        for folder in sorted((self.folder / TABLES).glob("*")):
            kind = folder.name.partition("_")[0]
            if kind in SUMMED.get(stage, ()) and not self.has(folder.name):
                self._load(folder.name, _SUMS[kind](self, folder.name))
        return facts

    def results(self, stage: str, units: Sequence[int], do: Do) -> Iterator[tuple]:
        folder = self.folder / FACTS / stage
        folder.mkdir(parents=True, exist_ok=True)
        waiting = {unit for unit in units if not _facts_path(folder, unit).exists()}
        for unit in sorted({*units} - waiting):  # of an interrupted call
            yield unit, _facts(folder, unit), {}
        rest = sorted(waiting)
        call = functools.partial(_units, self, folder, rest, do)
        tasks = self.session.range(0, len(rest), 1, max(len(rest), 1))
        job = tasks.mapInArrow(call, "unit int, facts string")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(job.collect)
            try:
                while waiting and not running.done():
                    concurrent.futures.wait([running], POLL_SECONDS)
                    names = set(os.listdir(folder))
                    for unit in [u for u in waiting if _facts_path(folder, u).name in names]:
                        waiting.remove(unit)
                        yield unit, _facts(folder, unit), {}
                found = {row.unit: row.facts for row in running.result()}
            finally:
                if not running.done():
                    self.session.sparkContext.cancelAllJobs()
        for unit in waiting:  # a shared folder may be slow to show them
            yield unit, json.loads(found[unit]), {}

    def joined(self, unit: int) -> tuple[pathlib.Path, int]:
        return self.folder / JOINED / f"{unit:05d}", 0

    def query(self, query: str) -> dict[str, np.ndarray]:
        self.table(units.TIMES)
        found = self.session.sql(query).toArrow()
        return {name: found[name].to_numpy() for name in found.column_names}

    def table(self, name: str) -> Frame:
        """What the units have added to a table, also a view of that name."""
        parquet = self.session.read.option("pathGlobFilter", "*.parquet")
        frame = parquet.parquet(f"file://{self.folder / TABLES / name}")
        frame.createOrReplaceTempView(name)
        return frame

    def save(self, name: str, frame: Frame) -> pathlib.Path:
        """Writes a frame as Parquet files, in the order of its rows; returns their folder."""
        folder = self.folder / GATHERED / name
        frame.write.mode("overwrite").parquet(f"file://{folder}")
        return folder

    def _load(self, name: str, frame: Frame) -> None:
        """Makes a table of the driver's database of a frame."""
        columns = [_UNSIGNED.get(column, column) for column in frame.columns]
        query = f'CREATE TABLE "{name}" AS SELECT {", ".join(columns)} FROM read_parquet(?)'
        self.database.execute(query, [f"{self.save(name, frame)}/*.parquet"])

    def by_user(self, table: str) -> Frame:
        """The rows of a table that have a user, those of one in one task, in order of time."""
        there = self.table(table).where(f"user != {_signed(np.array([keys.MISSING]))[0]}")
        there = there.repartitionByRange(self._tasks(), "user")
        return there.sortWithinPartitions("user", "time", "place")

    def by_unit(self, frame: Frame, write: Callable[..., None], *order: str) -> None:
        """Calls `write(work, unit, rows)` for each unit, with the frame's rows of it, in order."""
        there = frame.repartition(self._tasks(), "unit").sortWithinPartitions("unit", *order)
        call = functools.partial(_write_units, self, write)
        done = {row.unit for row in there.mapInArrow(call, "unit int").collect()}
        for unit in sorted({*range(len(self.units))} - done):  # no row has a user
            write(self, unit, pl.from_arrow(frame.limit(0).toArrow()))

    def _tasks(self) -> int:
        cores = self.session.sparkContext.defaultParallelism
        return max(int(self.starts[-1]) // JOIN_ROWS, cores)

    def rows_of(self, unit: int) -> int:
        return int(self.starts[unit + 1] - self.starts[unit])


_UNSIGNED = {n: f"({n}::HUGEINT + {SIGN})::UBIGINT AS {n}" for n in ("key", "hash")}


def _signed(made: np.ndarray) -> np.ndarray:
    return (made ^ SIGN).view(np.int64)


def _unsigned(made: np.ndarray) -> np.ndarray:
    return made.view(np.uint64) ^ SIGN


def _facts_path(folder: pathlib.Path, unit: int) -> pathlib.Path:
    return folder / f"{unit:05d}.json"


def _facts(folder: pathlib.Path, unit: int) -> dict:
    return json.loads(_facts_path(folder, unit).read_text())


# What executors do.


def _units(
    work: SparkWork, folder: pathlib.Path, units: Sequence[int], do: Do, batches: Batches
) -> Iterator[pa.RecordBatch]:
    """Does units, whose places among all are given, and tells their facts."""
    for batch in batches:
        for place in batch["id"].to_pylist():
            facts, tables = do(units[place])
            for name, table in tables.items():
                _add(work.folder, name, f"{units[place]:05d}", table)
            text = json.dumps(facts)
            write_whole(_facts_path(folder, units[place]), text)
            yield pa.record_batch([pa.array([units[place]], pa.int32()), [text]], ["unit", "facts"])


def _add(folder: pathlib.Path, name: str, part: str, table: pa.Table) -> None:
    """Writes a part of a table; keys as signed numbers."""
    columns = [
        pa.array(_signed(column.to_numpy())) if column.type == pa.uint64() else column
        for column in table.columns
    ]
    with new_file(folder / TABLES / name / f"{part}.parquet") as path:
        pq.write_table(pa.table(columns, names=table.column_names), path)


def _write_units(
    work: SparkWork, write: Callable[..., None], batches: Batches
) -> Iterator[pa.RecordBatch]:
    for frame in together(batches, "unit"):
        for part in frame.partition_by("unit", maintain_order=True):
            write(work, part["unit"][0], part)
            yield pa.record_batch([part["unit"][:1].to_arrow()], ["unit"])


# Tables as the driver needs them: only what is frequent enough, or some of very many.


def _hashes(work: SparkWork, name: str) -> Frame:
    return work.table(name)


def _frequent(work: SparkWork, name: str) -> Frame:
    """The values that train shows often enough; of a set that extends another all, to count."""
    table = fit.tables(work.spec)[int(name.partition("_")[2])]
    least = next(f.min_count for f in work.spec.fields if f.table == table)
    work.table(name)
    return work.session.sql(
        f"SELECT key, sum(n) AS n, min(value) AS value FROM {name} GROUP BY key "
        f"HAVING sum(n) >= {1 if work.extends else least}"
    )


def _neighbours(work: SparkWork, name: str) -> Frame:
    """Different numbers, of more than MOST_NUMBERS neighbours merged as `fit` merges them."""
    from pyspark.sql.functions import monotonically_increasing_id

    work.table(name)
    found = work.session.sql(f"SELECT value, sum(n) AS n FROM {name} GROUP BY value")
    found = found.orderBy("value").withColumn("id", monotonically_increasing_id())
    folder = work.save(f"{name}_sorted", found)
    found = work.session.read.parquet(f"file://{folder}")  # whose ids stay
    found.createOrReplaceTempView("sorted")
    part = f"shiftright(id, {WITHIN}) AS part"
    sizes = work.session.sql(f"SELECT {part}, count(*) AS n FROM sorted GROUP BY 1 ORDER BY 1")
    sizes = [(row.part, row.n) for row in sizes.collect()]
    merged = -(-sum(n for _, n in sizes) // fit.MOST_NUMBERS)
    if merged <= 1:
        return found.select("value", "n")
    firsts = np.cumsum([0, *(n for _, n in sizes)]).tolist()
    starts = [(part, first) for (part, _), first in zip(sizes, firsts)]
    work.session.createDataFrame(starts, "part long, first long").createOrReplaceTempView("starts")
    return work.session.sql(
        f"""SELECT -max(struct(n, -value AS less)).less AS value, sum(n) AS n FROM (
          SELECT *, (first + id % {1 << WITHIN}) DIV {merged} AS place
          FROM (SELECT *, {part} FROM sorted) JOIN starts USING (part)
        ) GROUP BY place"""
    )


_SUMS = {"ids": _frequent, "numbers": _neighbours, units.HASHES: _hashes}


# Joins: the rows of a user, in order of time.


def order_splits(work: SparkWork) -> dict:
    """Writes the split of each row, by the order of its user's rows."""
    call = functools.partial(_cut_users, work)
    found = work.by_user(units.ORDER).mapInArrow(call, "unit int, place long, split tinyint")
    work.by_unit(found, _write_splits)
    return {}


def _cut_users(work: SparkWork, batches: Batches) -> Iterator[pa.RecordBatch]:
    wanted = work.spec.split
    for frame in together(batches, "user"):
        split = of_sorted(frame["user"].to_numpy(), wanted.validation, wanted.test)
        place = frame["place"].to_numpy()
        yield pa.record_batch([_units_of(work, place), place, split], ["unit", "place", "split"])


def _units_of(work: SparkWork, place: np.ndarray) -> np.ndarray:
    return (np.searchsorted(work.starts, place, side="right") - 1).astype(np.int32)


def _write_splits(work: SparkWork, unit: int, frame: pl.DataFrame) -> None:
    splits = np.zeros(work.rows_of(unit), np.int8)
    splits[frame["place"].to_numpy() - work.starts[unit]] = frame["split"].to_numpy()
    with new_file(work.joined(unit)[0] / units.SPLIT_FILE) as path, path.open("wb") as file:
        np.save(file, splits)


def join_histories(work: SparkWork) -> dict:
    """Writes what each row's histories list, and the events that the set keeps."""
    spec = work.spec
    if work.extends is not None:
        older = histories.older_events(spec, work.extends)
        _add(work.folder, histories.EVENTS, "older", older)
    events = work.by_user(histories.EVENTS)
    columns = "unit int, user long, time long, place long"
    for h, history in enumerate(spec.histories()):
        columns += f", count_{h} int, times_{h} array<long>"
        for f, _ in enumerate(histories.listing(spec, history)):
            columns += f", keys_{h}_{f} array<long>"
    kept = work.folder / GATHERED / histories.EVENTS
    shutil.rmtree(kept, ignore_errors=True)  # an interrupted join may have had other parts
    listed = events.mapInArrow(functools.partial(_list_events, work, kept), columns)
    work.by_unit(listed, _write_histories, "user", "time", "place")
    target = work.folder / histories.FOLDER / histories.EVENTS
    with new_file(target) as path, path.open("wb") as file:
        for part in sorted(kept.glob(f"*{PART}")):
            with part.open("rb") as events:
                shutil.copyfileobj(events, file)
    return {}


def _list_events(
    work: SparkWork, folder: pathlib.Path, batches: Batches
) -> Iterator[pa.RecordBatch]:
    """Writes the events that the set keeps of a part's users; gives what the rows list."""
    from pyspark import TaskContext

    part = folder / f"{TaskContext.get().partitionId():05d}{PART}"
    with new_file(part) as path, path.open("wb") as file:
        for frame in together(batches, "user"):
            kept = frame.filter(histories.newest(work.spec, frame))
            file.write(histories.as_kept(work.spec, _with_keys(kept)))
            yield _listed(work, frame)


def _listed(work: SparkWork, frame: pl.DataFrame) -> pa.RecordBatch:
    """How many events each row lists, and those of them that no row before it in its unit does.

    Rows of a unit are in order of user and time, so what one lists begins and ends where the one
    before it does, or later: each event goes to a unit once, however many rows list it.
    """
    user, time, place = (frame[name].to_numpy() for name in ("user", "time", "place"))
    unit = _units_of(work, place)
    order = np.argsort(unit, kind="stable")
    order = order[unit[order] >= 0]  # those of an older set are of no unit
    unit = unit[order]
    columns = {"unit": unit, "user": user[order], "time": time[order], "place": place[order]}
    again = np.zeros(len(unit), bool)
    again[1:] = unit[1:] == unit[:-1]
    for h, history in enumerate(work.spec.histories()):
        event = frame[f"event {history.name}"].to_numpy()
        found = histories.earlier(user, time, event, history.max_values)[order]
        start, end = found["start"], found["start"] + found["count"]
        start = np.where(again, np.maximum(start, np.roll(end, 1)), start)
        offsets = np.append(0, np.cumsum(end - start)).astype(np.int32)
        at = places(start, end - start)
        columns[f"count_{h}"] = found["count"]
        columns[f"times_{h}"] = pa.ListArray.from_arrays(offsets, time[event][at])
        for f, field in enumerate(histories.listing(work.spec, history)):
            made = frame[f"key {field.name}"].to_numpy()[event][at]
            columns[f"keys_{h}_{f}"] = pa.ListArray.from_arrays(offsets, made)
    return pa.record_batch(columns)


def _write_histories(work: SparkWork, unit: int, frame: pl.DataFrame) -> None:
    """Writes what `Histories` reads of a unit."""
    folder = work.joined(unit)[0] / histories.FOLDER
    place = frame["place"].to_numpy() - work.starts[unit]
    for h, history in enumerate(work.spec.histories()):
        lists = frame[f"times_{h}"].to_arrow()
        listed, count = np.zeros(work.rows_of(unit), histories.LISTED), frame[f"count_{h}"]
        listed["count"][place] = count
        listed["start"][place] = np.cumsum(lengths(lists)) - count.to_numpy()
        files = {histories.listed_file(folder, history): listed}
        files[histories.times_file(folder, history)] = lists.flatten().to_numpy()
        for f, field in enumerate(histories.listing(work.spec, history)):
            made = frame[f"keys_{h}_{f}"].to_arrow().flatten().to_numpy()
            files[histories.keys_file(folder, field)] = _unsigned(made)
        for path, array in files.items():
            with new_file(path) as temporary:
                array.tofile(temporary)


def _with_keys(frame: pl.DataFrame) -> pl.DataFrame:
    named = [name for name in frame.columns if name == "user" or name.startswith("key ")]
    return frame.with_columns(pl.Series(n, _unsigned(frame[n].to_numpy())) for n in named)
