"""A log of any size to a prepared data set: `prepare` reads like the table of contents."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Iterator, Sequence

import polars as pl

from dtn_jax.datasets.logs import (
    cuts,
    finish_set,
    merge,
    pool,
    provenance,
    schema_file,
    stages,
    times,
    user_order,
)
from dtn_jax.datasets.logs.account import Account
from dtn_jax.datasets.logs.raw import files as raw_files
from dtn_jax.datasets.logs.raw import read as raw_read
from dtn_jax.datasets.logs.raw import units as raw_units
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.rows import columns
from dtn_jax.datasets.logs.spec import Spec
from dtn_jax.datasets.logs.splits import SPLITS
from dtn_jax.datasets.logs.work import SCHEMA_FILE, Work, load, new_folder
from dtn_jax.datasets.preparation import progress
from dtn_jax.datasets.preparation.prepared import Prepared, read
from dtn_jax.errors import UserError, choose
from dtn_jax.shared_files import locked, move_aside, write_whole

MAX_REJECT_RATE = 0.001
MEMORY_GB = 4.0
BASE_GB, LEAST_GB = 0.6, 0.45  # of the command itself, and of each process that it starts
CHUNK_BYTES, LEAST_ROWS, MOST_ROWS = 48 << 20, 2048, 65_536  # of a chunk
WAIT_SECONDS = 1.0  # between looks at what other machines have done
Machine = tuple[int, int]  # this machine's number, from 0 on, and how many share the work


def prepare(
    schema: str | pathlib.Path | Spec,
    input: str | Sequence[str] | object,
    data_dir: str | pathlib.Path,
    *,
    processes: int = 0,
    memory_gb: float = MEMORY_GB,
    max_reject_rate: float = MAX_REJECT_RATE,
    machine: Machine = (0, 1),
    replace: bool = False,
    source: str = "",
) -> Prepared:
    """Prepares a log, or resumes where it was interrupted; a set that is there already is returned.

    The bytes of the set depend on the schema file and the raw files alone, not on the processes,
    the machines, the memory, or how often the work was interrupted.

    Args:
      schema: the schema file, or what it says.
      input: a file, glob or folder, or several of them; or a Polars, pandas or Arrow table.
      data_dir: the set will be in `data_dir/logs/NAME/1.0.0`.
      processes: how many work at a time; 0 is one a core, as far as memory goes.
      memory_gb: gigabytes that all of them together may need, pages of mapped files aside.
      max_reject_rate: the share of bad rows above which nothing is written.
      machine: (place, count) where several machines, which share `data_dir`, run the same call.
      replace: a set that was made from something else is moved to `data_dir/logs/NAME/replaced`.
      source: SHA-256 of the plug-in that the schema file came with.

    Raises:
      UserError: the schema file or the raw files are wrong, too many rows are, a split is empty, or
        a set is there that was made from something else.
    """
    spec = schema if isinstance(schema, Spec) else schema_file.load(pathlib.Path(schema))
    home = pathlib.Path(data_dir).expanduser().absolute() / "logs" / spec.name
    with raw_log(input, spec, home) as files:
        made_from = {"recipe": provenance.recipe(spec, source)} | provenance.raw_facts(files)
        target = home / finish_set.VERSION
        if target.exists():
            old = read(target)
            changed = provenance.change(old, made_from["recipe"], made_from)
            if not changed:
                return old
            make_room(target, changed, replace)
        with begun(spec, files, home, made_from, machine, memory_gb, processes) as (job, team):
            cut_times(job, team)
            team.stage(job, "fit", range(len(job.units)), "pass 1 of 2: fit")
            check_rejects(job, home, max_reject_rate)
            merge_statistics(job, team)
            count = len(job.merged["shards"]) - 1
            team.stage(job, "encode", range(count), "pass 2 of 2: write")
            team.first_alone(lambda: finish_set.finish(job, target, made_from), target)
    return read(target)


@contextlib.contextmanager
def raw_log(input, spec: Spec, home: pathlib.Path) -> Iterator[list[RawFile]]:
    """The files of the log; a table in memory is written to one first."""
    if isinstance(input, str | pathlib.Path):
        input = [str(input)]
    if isinstance(input, Sequence):
        yield raw_files.find([str(part) for part in input], spec.input.format)
        return
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"table.{os.getpid()}.parquet"
    as_frame(input).write_parquet(path, row_group_size=raw_units.ROWS)
    try:
        yield [
            RawFile(f"{home}/table.parquet", "parquet", path.stat().st_size, ()),
        ]
    finally:
        path.unlink()


def as_frame(table: object) -> pl.DataFrame:
    """A Polars, pandas or Arrow table as a Polars one."""
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    try:
        return pl.DataFrame(table)
    except Exception as error:
        raise UserError(
            f"input is a {type(table).__name__}; expected a path, a list of paths, or a Polars, "
            f"pandas or Arrow table ({error})"
        ) from None


def make_room(target: pathlib.Path, changed: str, replace: bool) -> None:
    """Moves a set aside that was made from something else; raises UserError unless asked to."""
    if not replace:
        raise UserError(
            f"{target} was prepared from {changed}. Give --replace to prepare it again (the old "
            "set is kept beside it), another name in the schema file, or another --data_dir"
        )
    kept = move_aside(target, target.parent / "replaced", target.name)
    progress.say(f"the set that was there is now in {kept}")


@contextlib.contextmanager
def begun(
    spec: Spec,
    files: Sequence[RawFile],
    home: pathlib.Path,
    made_from: dict,
    machine: Machine,
    memory_gb: float,
    processes: int,
) -> Iterator[tuple[Work, Team]]:
    """The work, begun or found as it was left, and who does it; removed when it is done."""
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:12]
    folder = home / f"unfinished-{key}"
    with progress.Rows() as bars:
        team = Team(machine, workers(processes, memory_gb), bars)
        memory = int((memory_gb - BASE_GB) * 2**30 / team.processes)
        folder.mkdir(parents=True, exist_ok=True)
        lock = locked(folder / f"lock.{machine[0]}")
        if lock is None:
            raise UserError(f"another process is preparing {spec.name} in {folder}")
        with lock:
            team.first_alone(lambda: plan(folder, spec, files, memory), folder / "plan.json")
            progress.say(f"Preparing {spec.name} in {home}")
            yield load(folder, memory), team
            if team.is_first:
                shutil.rmtree(folder)


def workers(processes: int, memory_gb: float) -> int:
    """How many processes work at a time; raises UserError where memory is too small for one."""
    most = int((memory_gb - BASE_GB) / LEAST_GB)
    if most < 1:
        raise UserError(f"--memory_gb={memory_gb:g}: at least {BASE_GB + LEAST_GB:g} are needed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(processes or cores or 1, most))


def plan(folder: pathlib.Path, spec: Spec, files: Sequence[RawFile], memory: int) -> None:
    """Looks at the raw files' columns, cuts them into units, and saves both."""
    wanted = columns(spec)
    for file in files:
        known = raw_read.schema(file, spec.input) | dict.fromkeys(
            (name for name, _ in file.constants), pl.String()
        )
        for name in wanted:
            choose(f"column in {file.address}", name, known)
        schema_file.check(spec, known)
    unit = spec.time_unit
    units = raw_units.plan(files, spec.input)
    if spec.time and not unit:
        unit = times.unit_of(sample(files, units, spec))
    size = sum(_bytes(known[name], spec) for name in wanted)
    rows = max(LEAST_ROWS, min(CHUNK_BYTES // max(size, 1), MOST_ROWS))
    shutil.copy(spec.path, folder / SCHEMA_FILE)
    Work(folder, spec, files, units, unit, rows, memory).save()


def sample(files: Sequence[RawFile], units: Sequence, spec: Spec) -> pl.Series:
    """The times of the first rows of the log."""
    for unit in units:
        for chunk in raw_read.chunks(files[unit.file], unit, [spec.time], spec.input):
            if len(chunk.frame):
                return chunk.frame[spec.time]
    raise UserError(f"the raw files of {spec.name} hold no rows")


def _bytes(dtype: pl.DataType, spec: Spec) -> int:
    """What a value takes in memory, roughly."""
    if dtype == pl.List:
        longest = [f.length or f.max_values for f in spec.fields if f.kind in ("bag", "vector")]
        return 24 * max(longest, default=1)
    return 64 if dtype == pl.String else 16


def cut_times(job: Work, team: Team) -> None:
    """Finds where the splits are cut, where only the whole log says it."""
    spec, units = job.spec, range(len(job.units))
    if spec.split.by == "user_order":
        team.stage(job, "order", units, "order of users' rows")
        target = job.folder / "ordered"
        team.first_alone(functools.partial(_decide, job, target), target)
    if spec.split.by != "time":
        return
    path = job.folder / "cuts.json"
    if not all(isinstance(share, str) for share in (spec.split.validation, spec.split.test)):
        team.stage(job, "times", units, "times")
    team.first_alone(lambda: write_whole(path, json.dumps(_cuts(job))), path)
    shown = {name: times.show(value, job.time_unit) for name, value in job.cuts.items()}
    progress.say(f"split by time: validation from {shown['validation']}, test from {shown['test']}")


def _decide(job: Work, target: pathlib.Path) -> None:
    with new_folder(target) as folder:
        user_order.decide(job, folder)


def _cuts(job: Work) -> dict[str, int]:
    found = [job.of("times", unit) for unit in range(len(job.units))]
    parts = [dict(json.loads(path.read_text())) for path in found if path.exists()]
    return cuts.cut(job.spec.split, cuts.joined(parts, job.time_unit), job.time_unit)


def check_rejects(job: Work, home: pathlib.Path, most: float) -> None:
    """Shows the bad rows; raises UserError where there are too many."""
    account = Account()
    for unit in range(len(job.units)):
        account.include(Account.from_json(job.fitted(unit)["account"]))
    if not account.rows:
        raise UserError(f"the raw files of {job.spec.name} hold no rows")
    for line in account.summary():
        progress.say(line)
    if account.rejected > most * account.rows:
        path = home / finish_set.REJECTS
        write_whole(path, account.lines())
        raise UserError(
            f"{account.rejected:,} of {account.rows:,} rows are bad ({account.rejected / account.rows:.2%}), "
            f"more than --max_reject_rate={most:g} allows; no set is written. "
            f"The first of each kind are in {path}"
        )


def merge_statistics(job: Work, team: Team) -> None:
    """Fits vocabularies, buckets and scales, and decides the layout and the shards."""
    target = job.folder / "merged"
    team.first_alone(functools.partial(_merge, job, team, target), target)


def _merge(job: Work, team: Team, target: pathlib.Path) -> None:
    with new_folder(target) as folder:
        vocabulary = folder / finish_set.VOCABULARY
        vocabulary.mkdir()
        tasks = [("table", table) for table in merge.tables(job)]
        tasks += [("numbers", f.name) for f in job.spec.fields if f.encoder == "buckets"]
        tasks = [(job.folder, job.memory, kind, name, vocabulary) for kind, name in tasks]
        done = pool.run(stages.do_merge, tasks, team.processes)
        numbers: dict[str, dict] = {}
        for found in team.bars.count(done, "merge", len(tasks), rows=lambda _: 1, unit="tables"):
            numbers |= found
        merge.finish(job, vocabulary, numbers)
        (vocabulary / "merged.json").rename(folder / "merged.json")


class Team:
    """The processes of this machine, and the other machines that share the work.

    Attributes:
      processes: how many work at a time here.
      bars: shows the progress.
    """

    def __init__(self, machine: Machine, processes: int, bars: progress.Rows):
        self.place, self.machines = machine
        self.processes, self.bars = processes, bars

    @property
    def is_first(self) -> bool:
        return self.place == 0

    def stage(self, job: Work, name: str, every: Sequence[int], what: str) -> None:
        """Does this machine's tasks of a stage that are not done, and waits for the others'."""
        own = [i for i in every if i % self.machines == self.place]
        own = [i for i in own if not job.of(name, i).exists()]
        tasks = [(job.folder, job.memory, name, i) for i in own]
        done = pool.run(stages.do, tasks, self.processes)
        total = sum(job.units[i].rows for i in own) if len(every) == len(job.units) else 0
        for _ in self.bars.count(done, what, max(total, 0), rows=lambda rows: rows):
            pass
        self._wait([job.of(name, i) for i in every], what)

    def first_alone(self, do, result: pathlib.Path) -> None:
        """Has the first machine do something, unless its result is there; the others wait."""
        if self.is_first:
            if not result.exists():
                do()
        else:
            self._wait([result], "the first machine")

    def _wait(self, results: Sequence[pathlib.Path], what: str) -> None:
        said = False
        while missing := [path for path in results if not path.exists()]:
            if not said:
                progress.say(f"{what}: waiting for {len(missing)} results of other machines")
                said = True
            time.sleep(WAIT_SECONDS)


def shares(rows: dict[str, int]) -> str:
    """'1,000 train (80 %), …' of the rows of each split."""
    total = sum(rows.values())
    return ", ".join(f"{rows[s]:,} {s} ({progress.percent(rows[s], total)})" for s in SPLITS)
