"""The folder in which a log is being prepared, its database, and how a stage is done once.

    rows/00012.arrows    the clean rows of unit 12
    work.duckdb          what the stages have counted and sorted, and which of them are done
    histories/           what each row's histories list
    vocabulary/          the vocabularies, in the making
    set/                 the prepared set, which moves to its place when it is whole

A unit of a stage is done once its files are on the disk and the database says so, in one
transaction with what it counted. So a command that was killed goes on where it was, and what comes
out depends neither on that nor on how many threads work.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from dtn_jax.data import progress
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import Unit
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages import histories
from dtn_jax.data.stages.histories import Lists
from dtn_jax.files import replacing

T, R = TypeVar("T"), TypeVar("R")
Do = Callable[[int], tuple[dict, Mapping[str, pa.Table]]]  # of a unit, as of `Work.stage`
SCHEMA_FILE, VERSION = "schema_file.yaml", "1.0.0"  # of a set: its schema file, its folder
DATABASE = "work.duckdb"
OF_DATABASE = 0.6  # the share of the memory that DuckDB may use; its limit is a soft one


@dataclasses.dataclass
class Work:
    """A log that is being prepared.

    Attributes:
      folder: where.
      spec: the schema file.
      files, units: the raw log.
      types: {raw column: its type} (columns.py).
      chunk_rows: rows of a chunk: sums of floats depend on it.
      threads: how many work at a time.
      extends: the folder of the prepared set that this one extends, if it does.
      database: an open one.
      bars: of progress.
    """

    folder: pathlib.Path
    spec: Spec
    files: Sequence[RawFile]
    units: Sequence[Unit]
    types: Mapping[str, object]
    chunk_rows: int
    threads: int
    extends: pathlib.Path | None
    database: duckdb.DuckDBPyConnection
    bars: progress.Rows

    @property
    def dated(self) -> bool:
        """Whether the rows have days: their times are no mere numbers."""
        return bool(self.spec.time) and self.spec.time_unit != "number"

    def done(self, stage: str) -> dict[int, dict]:
        """{unit: its facts} of what is done of a stage."""
        rows = self.database.execute("SELECT unit, facts FROM done WHERE stage = ?", [stage])
        return {unit: json.loads(facts) for unit, facts in rows.fetchall()}

    def stage(
        self,
        stage: str,
        what: str,
        units: Sequence[int],
        do: Do,
        total: int = 0,
    ) -> list[dict]:
        """Does what is not yet done of a stage; returns the facts of all units, in their order.

        Args:
          stage: its name.
          what: it does, for the reader.
          units: numbers.
          do: a unit's work: returns its facts, with `rows`, and {table: rows to add to it}.
          total: rows of all units, where that is known.
        """
        facts = self.done(stage)
        rest = [unit for unit in units if unit not in facts]
        results = self.results(stage, rest, do)
        already = sum(facts[unit]["rows"] for unit in units if unit in facts)
        counted = self.bars.count(results, what, max(total - already, 0), lambda r: r[1]["rows"])
        for unit, result, tables in counted:
            facts[unit] = result
            self.database.begin()
            for name, table in tables.items():
                self.add(name, table)
            self.mark(stage, unit, result)
            self.database.commit()
        return [facts[unit] for unit in units]

    def results(self, stage: str, units: Sequence[int], do: Do) -> Iterator[tuple]:
        """(unit, its facts, its tables) of units of a stage, as they are done."""
        for unit, result in zip(units, computed_ahead(do, units, self.threads), strict=True):
            yield unit, *result

    def once(self, stage: str, do: Callable[[], dict]) -> dict:
        """Does a stage that is one piece, unless it is done; returns its facts."""
        facts = self.done(stage)
        if 0 not in facts:
            facts[0] = do()
            self.mark(stage, 0, facts[0])
        return facts[0]

    def mark(self, stage: str, unit: int, facts: dict) -> None:
        row = [stage, unit, json.dumps(facts)]
        self.database.execute("INSERT INTO done VALUES (?, ?, ?)", row)

    def add(self, name: str, added: pa.Table) -> None:
        """Adds rows to a table of the database, which is made for the first ones; DuckDB finds
        `added` here."""
        self.database.execute(f'CREATE TABLE IF NOT EXISTS "{name}" AS SELECT * FROM added LIMIT 0')
        self.database.execute(f'INSERT INTO "{name}" SELECT * FROM added')

    def rows_path(self, unit: int) -> pathlib.Path:
        return self.folder / "rows" / f"{unit:05d}.arrows"

    def relation(self, name: str, query: str) -> str:
        """What a query of the stages' tables gives, for the FROM of another query.

        Args:
          name: under which an engine may keep it.
          query: in SQL that all engines read.
        """
        return f"({query})"

    def query(self, query: str, order: str) -> dict[str, np.ndarray]:
        """The columns that a query of the stages' tables gives, sorted by one of them."""
        rows = f"SELECT * FROM {self.relation('query', query)} ORDER BY {order}"
        return self.database.execute(rows).fetchnumpy()

    def join(self, name: str, query: str) -> dict:
        """Keeps what a query gives of rows, with their `unit` and `place`, for `of_unit`."""
        self.database.execute(
            f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM ({query}) ORDER BY unit, place"
        )
        return {}

    def of_unit(self, name: str, unit: int) -> dict[str, np.ndarray]:
        """What is kept of a unit's rows, in their order."""
        with self.database.cursor() as cursor:
            query = f"SELECT * FROM {name} WHERE unit = ? ORDER BY place"
            return cursor.execute(query, [unit]).fetchnumpy()

    def join_histories(self) -> dict:
        """Writes the events of all users, and which of them each row lists."""
        frames, rows = histories.by_user(self.database), int(self.starts[-1])
        frames = self.bars.count(frames, "histories", rows)
        histories.build(self.spec, self.folder / histories.FOLDER, frames, self.starts)
        return {}

    def lists(self, unit: int) -> Lists:
        """What the histories of a unit's rows list."""
        rows = slice(*self.starts[unit : unit + 2].tolist())
        return histories.read(self.spec, self.folder / histories.FOLDER, rows)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """The number, among all clean rows, of each unit's first one, and at the end how many."""
        facts = self.done("rows")
        return np.cumsum([0, *(facts[unit]["clean"] for unit in range(len(self.units)))])


def computed_ahead(do: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """The results of all items, in their order, by threads; few are held at a time."""
    if threads == 1:
        yield from map(do, items)
        return
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        rest, running = iter(items), collections.deque()
        try:
            for item in itertools.islice(rest, threads + 1):
                running.append(pool.submit(do, item))
            while running:
                result = running.popleft().result()
                for item in itertools.islice(rest, 1):
                    running.append(pool.submit(do, item))
                yield result
        finally:
            for future in running:
                future.cancel()


@contextlib.contextmanager
def database(folder: pathlib.Path, memory_gb: float, threads: int) -> Iterator:
    """DuckDB's database in a folder, which spills to that folder; nothing is loaded from afar."""
    path = folder / DATABASE
    settings = {
        "memory_limit": f"{max(int(memory_gb * OF_DATABASE * 1024), 64)}MB",
        "temp_directory": str(folder / "spilled"),
        "threads": threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    connection = duckdb.connect(str(path), config=settings)
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS done (stage VARCHAR, unit INTEGER, facts VARCHAR)"
        )
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")  # its log is enough to resume
        yield connection
    finally:
        connection.close()


def new_file(path: pathlib.Path) -> AbstractContextManager[pathlib.Path]:
    """`replacing`, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return replacing(path)
