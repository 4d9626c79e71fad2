"""`prepare` on Spark, for a log that no machine can hold.

The stages are those of one machine, and so are their functions: a unit is a task, and an executor
calls `units.clean_unit`, `count_unit` or `write_shard` for it. The work folder lies where the
driver and all executors see it, by the same path:

    rows/00012.arrows           the clean rows of unit 12, as on one machine
    tables/ids_0/00012.parquet  what it adds to a table
    facts/count/00012.json      its facts; once they are there, the unit is done
    gathered/ids_0/             a table whose equal values Spark has summed, for the driver's DuckDB
    joined/histories/unit=12/   what the histories of unit 12 list; or the splits of its rows

The driver makes cuts, vocabularies and buckets of the gathered tables, by the code of one machine.
What needs all rows of a user is a join: Spark brings them together, sorted, and takes what follows
from them back to the units of the rows. So the set has the bytes that it has of one machine.

Spark has no unsigned numbers: keys have another first bit there, and are in the same order.
"""

from __future__ import annotations

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
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.data import keys
from dtn_jax.data.rows import places
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages import histories
from dtn_jax.data.stages.work import Do, Work, new_file
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole

Session, Frame = Any, Any  # PySpark's
Batches = Iterable[pa.RecordBatch]
TABLES, FACTS, GATHERED, JOINED = "tables", "facts", "gathered", "joined"  # folders of the work
TRIES = 4  # of a task, as Spark has them on a cluster
JOIN_ROWS = 2_000_000  # that a task of a join sorts, roughly
PART = ".events"  # of the users of a task
SIGN = np.uint64(1 << 63)
NEEDED = (
    "--engine=spark needs PySpark (pip install 'dtn_jax[spark]'), Java 17 or newer on PATH or in "
    "JAVA_HOME, and --master=URL: spark://HOST:7077, yarn, k8s://…, or local[2] to try it here"
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
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise UserError(NEEDED) from None
    if not (master and (os.environ.get("JAVA_HOME") or shutil.which("java"))):
        raise UserError(NEEDED)
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
        "spark.ui.showConsoleProgress": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
        "spark.executorEnv.POLARS_MAX_THREADS": "1",  # a task has a core
    }
    return spark.builder.master(master).appName(f"dtn-jax prepare: {name}").config(map=settings)


def _reason(error: Exception) -> str:
    """What Spark has given up for: of a UserError of an executor, the same."""
    java = getattr(error, "java_exception", None)
    text = java.getMessage() if java is not None else str(error)
    name = f"{UserError.__module__}.{UserError.__qualname__}: "
    if name in text:
        return text.rpartition(name)[2].strip()
    lines = text.strip().splitlines() or [type(error).__name__]
    line = (lines[-1] if "Traceback" in text else lines[0]).rstrip(". ")
    return f"Spark has given up: {line}. What is done stays done: the same command resumes"


@dataclasses.dataclass
class SparkWork(Work):
    """A log that is being prepared on Spark; to executors it goes without its open parts."""

    session: Session

    def __getstate__(self) -> dict:
        return self.__dict__ | dict.fromkeys(("database", "bars", "session"))

    def results(self, stage: str, units: Sequence[int], do: Do) -> Iterator[tuple]:
        folder = self.folder / FACTS / stage
        folder.mkdir(parents=True, exist_ok=True)
        there = {*os.listdir(folder)}  # a shared folder may remember that a name was not there
        rest = [unit for unit in units if _facts_name(unit) not in there]
        if rest:
            call = functools.partial(_units, self, folder, rest, do)
            self.session.range(0, len(rest), 1, len(rest)).mapInArrow(call, "unit int").collect()
        for unit in units:
            yield unit, json.loads((folder / _facts_name(unit)).read_text()), {}

    def sql(self, query: str) -> Frame:
        """What a query of the stages' tables gives."""
        for folder in (self.folder / TABLES).iterdir():
            if folder.name in query:
                parquet = self.session.read.option("pathGlobFilter", "*.parquet")
                parquet.parquet(f"file://{folder}").createOrReplaceTempView(folder.name)
        return self.session.sql(query)

    def relation(self, name: str, query: str) -> str:
        frame, folder = self.sql(query), self.folder / GATHERED / name
        frame.write.mode("overwrite").parquet(f"file://{folder}")
        unsigned = f"REPLACE ((key::HUGEINT + {SIGN})::UBIGINT AS key)"
        columns = f"* {unsigned if 'key' in frame.columns else ''}"
        return f"(SELECT {columns} FROM read_parquet('{folder}/*.parquet'))"

    def join(self, name: str, query: str) -> dict:
        return self.by_unit(name, self.sql(query), "place")

    def by_unit(self, name: str, frame: Frame, *order: str) -> dict:
        """Writes a frame's rows of each unit, in order."""
        there = frame.repartition(self._tasks(), "unit").sortWithinPartitions("unit", *order)
        files = there.write.mode("overwrite").partitionBy("unit")
        files.parquet(f"file://{self.folder / JOINED / name}")
        return {}

    def _joined(self, name: str, unit: int) -> list[pa.Table]:
        folder = self.folder / JOINED / name / f"unit={unit}"
        return [pq.ParquetFile(path).read() for path in sorted(folder.glob("*.parquet"))]

    def of_unit(self, name: str, unit: int) -> dict[str, np.ndarray]:
        table = pa.concat_tables(self._joined(name, unit))
        return {name: table[name].to_numpy() for name in table.column_names}

    def join_histories(self) -> dict:
        columns = "unit int, user long, time long, place long"
        for h, _ in enumerate(self.spec.histories()):
            columns += f", count_{h} int, events_{h} binary"
        kept = self.folder / GATHERED / histories.EVENTS
        shutil.rmtree(kept, ignore_errors=True)  # an interrupted join may have had other parts
        missing = _signed(np.array([keys.MISSING]))[0]
        events = self.sql(f"SELECT * FROM {histories.EVENTS} AS e WHERE e.user != {missing}")
        events = events.repartitionByRange(self._tasks(), "user")
        events = events.sortWithinPartitions("user", "time", "unit", "place")
        listed = events.mapInArrow(functools.partial(_list_events, self, kept), columns)
        self.by_unit(histories.FOLDER, listed, "user", "time", "place")
        target = self.folder / histories.FOLDER / histories.EVENTS
        with new_file(target) as path, path.open("wb") as file:
            for part in sorted(kept.glob(f"*{PART}")):
                with part.open("rb") as events:
                    shutil.copyfileobj(events, file)
        return {}

    def lists(self, unit: int) -> histories.Lists:
        parts, rows = self._joined(histories.FOLDER, unit), np.diff(self.starts)[unit]
        lists = {}
        for h, history in enumerate(self.spec.histories()):
            listed = np.zeros(rows, histories.LISTED)
            kind, events, before = histories.event_type(self.spec, history), [b""], 0
            for part in parts:
                some = part[f"events_{h}"].to_pylist()
                ends = before + np.cumsum([len(each) for each in some]) // kind.itemsize
                count, place = (part[name].to_numpy() for name in (f"count_{h}", "place"))
                listed["count"][place] = count
                listed["start"][place] = ends - count
                events, before = [*events, *some], int(ends[-1])
            lists[history.name] = listed, np.frombuffer(b"".join(events), kind)
        return lists

    def _tasks(self) -> int:
        cores = self.session.sparkContext.defaultParallelism
        return max(int(self.starts[-1]) // JOIN_ROWS, cores)


def _signed(hashed: np.ndarray) -> np.ndarray:
    return (hashed ^ SIGN).view(np.int64)


def _facts_name(unit: int) -> str:
    return f"{unit:05d}.json"


# What executors do.


def _units(
    work: SparkWork, folder: pathlib.Path, units: Sequence[int], do: Do, batches: Batches
) -> Iterator[pa.RecordBatch]:
    """Does units, whose places among these are given."""
    for batch in batches:
        for place in batch["id"].to_pylist():
            facts, tables = do(units[place])
            for name, table in tables.items():
                _add(work.folder, name, f"{units[place]:05d}", table)
            write_whole(folder / _facts_name(units[place]), json.dumps(facts))
            yield pa.record_batch([pa.array([units[place]], pa.int32())], ["unit"])


def _add(folder: pathlib.Path, name: str, part: str, table: pa.Table) -> None:
    """Writes a part of a table; keys as signed numbers."""
    columns = [
        pa.array(_signed(column.to_numpy())) if column.type == pa.uint64() else column
        for column in table.columns
    ]
    with new_file(folder / TABLES / name / f"{part}.parquet") as path:
        pq.write_table(pa.table(columns, names=table.column_names), path)


def _list_events(
    work: SparkWork, folder: pathlib.Path, batches: Batches
) -> Iterator[pa.RecordBatch]:
    """Writes the events that the set keeps of a part's users; gives what the rows list."""
    from pyspark import TaskContext

    part = folder / f"{TaskContext.get().partitionId():05d}{PART}"
    with new_file(part) as path, path.open("wb") as file:
        for frame in histories.together(batches):
            named = [name for name in frame.columns if name == "user" or name.startswith("key ")]
            unsigned = (frame[name].to_numpy().view(np.uint64) ^ SIGN for name in named)
            unsigned = frame.with_columns(map(pl.Series, named, unsigned))
            file.write(histories.kept(work.spec, unsigned))
            yield _listed(work.spec, frame, unsigned)


def _listed(spec: Spec, signed: pl.DataFrame, frame: pl.DataFrame) -> pa.RecordBatch:
    """How many events each row lists, and those of them that no row before it in its unit does.

    Rows of a unit are in order of user and time, so what one lists begins and ends where the one
    before it does, or later: each event goes to a unit once, however many rows list it.
    """
    unit = frame["unit"].to_numpy()
    order = np.argsort(unit, kind="stable")
    order = order[unit[order] >= 0]  # those of an older set are of no unit
    unit = unit[order]
    columns = {name: signed[name].to_numpy()[order] for name in ("unit", "user", "time", "place")}
    again = np.zeros(len(unit), bool)
    again[1:] = unit[1:] == unit[:-1]
    for h, history in enumerate(spec.histories()):
        listed, events = histories.earlier(spec, history, frame)
        start, count = listed["start"][order], listed["count"][order]
        end = start + count
        start = np.where(again, np.maximum(start, np.roll(end, 1)), start)
        new = events[places(start, end - start)]
        offsets = np.append(0, np.cumsum(end - start) * new.itemsize).astype(np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(new.tobytes())]
        columns[f"count_{h}"] = count
        columns[f"events_{h}"] = pa.Array.from_buffers(pa.binary(), len(unit), buffers)
    return pa.record_batch(columns)
