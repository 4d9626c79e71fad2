"""What a command holds at a time does not grow with the number of units."""

import importlib
import tracemalloc

import numpy as np
import pytest
from shop_log import schema_file

from dtn_jax.datasets.logs.fit import mapped
from dtn_jax.datasets.logs.schema import schema_file as schema_files
from dtn_jax.datasets.logs.work.folder import Work

engine = importlib.import_module("dtn_jax.datasets.logs.prepare")
MINUTE = 60_000_000


def work(folder, units, lines=""):
    """The work of a log of so many units, none of which is done."""
    text = f"name: log\nfields: {{user: }}\ntasks: {{click: }}\ngroup: user\ntime: t\n{lines}"
    spec = schema_files.load(schema_file(folder, text))
    return Work(folder, spec, [], [None] * units, "date", 1, 1)


def peak(do):
    """The most bytes that a call held at a time."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def timed(tmp_path):
    """The work of a log whose units have rows in 20,000 minutes each."""

    def made(units):
        job = work(tmp_path / f"{units}", units)
        (job.folder / "times").mkdir()
        for unit in range(units):
            times = (np.arange(20_000) + unit * 300) * MINUTE
            mapped.save(job.of("times", unit), np.stack([times, np.full(20_000, 10)]))
        return job

    return made


def test_the_times_of_one_unit_are_held_at_a_time(timed):
    few, many = timed(2), timed(30)
    assert peak(lambda: engine._cuts(many)) < 2 * peak(lambda: engine._cuts(few))
