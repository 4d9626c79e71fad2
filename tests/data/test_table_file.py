"""A table in memory: the file that it becomes is there as long as a call uses it, and no longer."""

import os
import signal
import subprocess
import sys

import polars as pl
import pytest
from shop_log import rows, schema_file, small_pieces

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.work import table_file

TABLE = pl.DataFrame({"a": [1, 2]})
HOLDS = """
import pathlib, sys, time
import polars as pl
from dtn_jax.datasets.logs.work import table_file
with table_file.written(pl.DataFrame({"a": [1, 2]}), pathlib.Path(sys.argv[1])) as path:
    print(path, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_call_leaves_is_removed_and_what_a_running_one_uses_stays(tmp_path):
    running = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE)
    path = running.stdout.readline().decode().strip()
    table_file.remove_left(tmp_path)
    assert [str(found) for found in tmp_path.iterdir()] == [path]
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    assert os.path.exists(path)
    table_file.remove_left(tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_calls_with_one_table_use_one_file(tmp_path):
    with table_file.written(TABLE, tmp_path) as first:
        with table_file.written(TABLE, tmp_path) as second:
            assert first == second
        assert pl.read_parquet(first).equals(TABLE)  # not removed by the one that ended
    assert not list(tmp_path.iterdir())


def test_a_table_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "as_frame", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError), table_file.written(TABLE, tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["table-0123456789ab.parquet", "table.77.parquet"])
def test_the_next_call_removes_what_was_left(tmp_path, monkeypatch, name):
    small_pieces(monkeypatch)
    home = tmp_path / "logs" / "shop"
    home.mkdir(parents=True)
    for _ in range(2):  # a set is prepared, then returned
        (home / name).write_bytes(b"half")
        made = logs.prepare(schema_file(tmp_path), rows(1500), tmp_path, processes=1)
        assert [path.name for path in home.iterdir()] == [made.folder.name]
