"""The stages of preparing a log, each a list of tasks that processes and machines share."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from dtn_jax.datasets.logs import mapped
from dtn_jax.datasets.logs import times as log_times
from dtn_jax.datasets.logs import work_folder as work
from dtn_jax.datasets.logs.fit import merge
from dtn_jax.datasets.logs.fit.fit_unit import fit_unit
from dtn_jax.datasets.logs.raw import read
from dtn_jax.datasets.logs.rows import cuts, user_histories, user_order
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.logs.rows.unit_rows import checked
from dtn_jax.datasets.logs.work_folder import Work
from dtn_jax.datasets.logs.write.encode_shard import encode_shard


def count_times(job: Work, unit: int) -> int:
    """Writes how many rows a unit has at each time, `times/00012.npy`."""
    file, rows = job.files[job.units[unit].file], 0

    def found() -> Iterator[np.ndarray]:
        nonlocal rows
        own = job.units[unit]
        for chunk in read.chunks(file, own, [job.spec.time], job.spec.input, job.chunk_rows):
            rows += len(chunk.numbers) + len(chunk.broken)
            parsed = log_times.to_time(chunk.frame[job.spec.time], job.time_unit)
            yield parsed.drop_nulls().to_numpy()

    counts = cuts.histogram(found(), job.time_unit)
    path = job.of("times", unit)
    path.parent.mkdir(exist_ok=True)
    mapped.save(path, np.stack(counts))
    return rows


def collect_order(job: Work, unit: int) -> int:
    """Writes the users and times of a unit's rows, `order/00012/`."""
    account = Account()
    with work.new_folder(job.of("order", unit)) as folder:
        user_order.collect(checked(job, unit, account), folder)
    return account.rows


def collect_events(job: Work, unit: int) -> int:
    """Writes the users, times and events of a unit's rows, `events/00012/`."""
    account = Account()
    with work.new_folder(job.of("events", unit)) as folder:
        user_histories.collect(job.spec, checked(job, unit, account), folder)
    return account.rows


TASKS: dict[str, Callable[[Work, int], int]] = {
    "times": count_times,
    "order": collect_order,
    "events": collect_events,
    "fit": fit_unit,
    "encode": encode_shard,
}


def do(folder: pathlib.Path, memory: int, stage: str, index: int) -> int:
    """Does a task in whatever process; returns its rows."""
    return TASKS[stage](work.load(folder, memory), index)


def do_merge(
    folder: pathlib.Path, memory: int, kind: str, name: str, target: pathlib.Path
) -> tuple[str, str, dict]:
    """Merges the statistics of a table or of a numeric field."""
    job = work.load(folder, memory)
    if kind == "table":
        return kind, name, merge.merge_table(job, name, target)
    return kind, name, merge.fit_numbers(job, name)
